/** Falcon-H1: in every layer a Mamba-2 mixer and attention side by side behind one norm, then a gated MLP. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { gatedMlpOf, qkvOf } from "../src/bridge/kinds.ts"
import { float } from "../src/runconfig/Provider.ts"
import { rows } from "../src/bridge/Registry.ts"
import { hybrid } from "../src/model/hybrid.ts"
import { mambaMixer } from "../src/model/mamba.ts"
import { layerNorms, mlp, norm, selfAttention } from "../src/model/modules.ts"
import { NO_PLACE, refuseBiases } from "./shared/biases.ts"
import { positions, size } from "./shared/config.ts"
import { commonOf, denseFields, divided, transformerOf, vocabularyOf } from "./shared/llama.ts"
import { mambaMixerRows } from "./shared/mamba.ts"
import { defined, gptProvider } from "./shared/provider.ts"

const factor = z.number().nullish()
const MULTIPLIERS = [
  "attention_in_multiplier", "attention_out_multiplier", "embedding_multiplier", "key_multiplier", "lm_head_multiplier",
  "ssm_in_multiplier", "ssm_out_multiplier"
] as const

const schema = () => z.looseObject({
  ...denseFields,
  ...positions(8192),
  num_key_value_heads: size.nullable().default(8),
  rms_norm_eps: z.number().nullable().default(1e-5),
  mamba_n_heads: size.default(128),
  mamba_d_head: z.union([size, z.literal("auto")]).nullish(),
  mamba_d_ssm: size.nullish(),
  mamba_expand: size.default(2),
  mamba_n_groups: size.default(1),
  mamba_d_state: size.default(256),
  mamba_d_conv: size.default(4),
  mamba_chunk_size: size.nullable().default(256),
  mamba_conv_bias: z.boolean().nullish(),
  mamba_proj_bias: z.boolean().nullish(),
  mamba_rms_norm: z.boolean().nullish(),
  mamba_norm_before_gate: z.boolean().nullable().default(true),
  projectors_bias: z.boolean().nullish(),
  mlp_multipliers: z.array(z.number()).max(16).nullish(),
  ssm_multipliers: z.array(z.number()).max(16).nullish(),
  ...Object.fromEntries(MULTIPLIERS.map((name) => [name, factor])) as Record<(typeof MULTIPLIERS)[number], typeof factor>
})
const floats = (values: ReadonlyArray<number> | null | undefined) => values?.map(float)

export const falconH1 = family({
  name: "falcon-h1",
  architectures: ["FalconH1ForCausalLM"],
  config: schema,
  describe: (t) => {
    refuseBiases(t, ["attention_bias", "mlp_bias", "mamba_proj_bias", "projectors_bias"], NO_PLACE.mixer)
    const inner = t.mamba_d_ssm ?? t.mamba_expand * t.hidden_size
    const tc = transformerOf(t, {
      mamba_num_heads: t.mamba_n_heads,
      mamba_head_dim: typeof t.mamba_d_head === "number" ? t.mamba_d_head : divided(inner, t.mamba_n_heads, "mamba_n_heads"),
      mamba_num_groups: t.mamba_n_groups,
      mamba_state_dim: t.mamba_d_state
    })
    const mixer = { kernel: t.mamba_d_conv, convBias: t.mamba_conv_bias ?? true, norm: t.mamba_rms_norm ?? false }
    return {
      modules: [{
        kind: "language",
        path: "",
        config: tc,
        build: (s) =>
          hybrid(s, tc, {
            layer: (layer) => {
              norm(layer, "norm", tc.hidden_size, tc.normalization)
              mambaMixer(layer.at("mamba_mixer"), tc, mixer)
              selfAttention(layer.at("self_attention"), tc, { norms: "apart" })
              mlp(layer.at("mlp"), tc, tc.ffn_hidden_size, layerNorms(tc))
            }
          })
      }],
      rows: [
        ...rows("", "", {
          "embedding.word_embeddings.weight": "model.embed_tokens.weight",
          "decoder.final_norm.weight": "model.final_layernorm.weight",
          "output_layer.weight": "lm_head.weight"
        }),
        ...rows("decoder.layers.*.", "model.layers.*.", {
          "norm.weight": "input_layernorm.weight",
          ...mambaMixerRows("mamba_mixer.", "mamba."),
          "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
          "self_attention.linear_qkv.weight": qkvOf("self_attn.{q,k,v}_proj.weight"),
          "mlp.linear_fc1.layer_norm_weight": "pre_ff_layernorm.weight",
          "mlp.linear_fc1.weight": gatedMlpOf("feed_forward.{gate,up}_proj.weight"),
          "mlp.linear_fc2.weight": "feed_forward.down_proj.weight"
        })
      ],
      provider: gptProvider("megatron.bridge.models.falcon_h1.falconh1_provider.FalconH1ModelProvider", tc, commonOf(t), {
        hidden_dropout: float(0),
        attention_dropout: float(t.attention_dropout ?? 0),
        chunk_size: t.mamba_chunk_size ?? undefined,
        expand: t.mamba_expand,
        d_conv: mixer.kernel,
        conv_bias: mixer.convBias,
        rmsnorm: mixer.norm,
        norm_before_gate: t.mamba_norm_before_gate ?? undefined,
        mlp_multipliers: floats(t.mlp_multipliers),
        ssm_multipliers: floats(t.ssm_multipliers),
        ...defined(Object.fromEntries(MULTIPLIERS.map((name) => [name, typeof t[name] === "number" ? float(t[name]) : undefined])))
      }),
      vocabulary: vocabularyOf(tc)
    }
  }
})
