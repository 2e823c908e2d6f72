/** MiMo-V2-Flash: value heads narrower than query heads; sliding layers have sinks and more key/value heads than full ones. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float, pythonName } from "../src/runconfig/Provider.ts"
import { rows } from "../src/bridge/Registry.ts"
import { gpt, transformerLayer } from "../src/model/gpt.ts"
import { isMoe, type TransformerConfig } from "../src/model/TransformerConfig.ts"
import { appendedModules } from "./shared/appendedMtp.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { positions, size } from "./shared/config.ts"
import { expertLayout, routedExperts } from "./shared/experts.ts"
import { commonOf, headDimOf, transformerOf } from "./shared/llama.ts"
import { denseFirst, expertsOf, moeFields, perLayer, router, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { textModel } from "./shared/textModel.ts"

const FAMILY = "megatron.bridge.models.mimo_v2_flash"
const flag = z.union([z.literal(0), z.literal(1)])

const schema = () => z.looseObject({
  ...moeFields,
  ...positions(131_072),
  intermediate_size: size,
  moe_intermediate_size: size,
  num_experts_per_tok: size,
  n_group: size.nullable().default(1),
  topk_group: size.nullable().default(1),
  v_head_dim: size.nullish(),
  hybrid_layer_pattern: z.array(flag).max(100_000).nullish(),
  layer_types: z.array(z.enum(["sliding_attention", "full_attention"])).max(100_000).nullish(),
  moe_layer_freq: z.array(flag).max(100_000).nullish(),
  swa_num_attention_heads: size.nullish(),
  swa_num_key_value_heads: size.nullish(),
  swa_head_dim: size.nullish(),
  swa_v_head_dim: size.nullish(),
  swa_rope_theta: z.number().nullish(),
  add_swa_attention_sink_bias: z.boolean().nullish(),
  add_full_attention_sink_bias: z.boolean().nullish(),
  attention_value_scale: z.number().nullable().default(0.707),
  sliding_window: size.nullish(),
  sliding_window_size: size.nullish(),
  layernorm_epsilon: z.number().nullish(),
  scoring_func: z.enum(["sigmoid", "softmax"]).nullish()
})
type Config = z.infer<ReturnType<typeof schema>>

/** 1 = sliding, 0 = full attention. By default the first and every sixth layer are full. */
const pattern = (t: Config): ReadonlyArray<number> => {
  const L = t.num_hidden_layers
  if (t.hybrid_layer_pattern) return perLayer(t.hybrid_layer_pattern, L, "hybrid_layer_pattern")
  if (t.layer_types) return perLayer(t.layer_types, L, "layer_types").map((kind) => (kind === "sliding_attention" ? 1 : 0))
  return Array.from({ length: L }, (_, i) => (i === 0 || (i + 1) % 6 === 0 ? 0 : 1))
}

/** The sliding layers' own attention. */
const sliding = (t: Config, full: TransformerConfig): TransformerConfig => ({
  ...full,
  num_attention_heads: t.swa_num_attention_heads ?? full.num_attention_heads,
  num_query_groups: t.swa_num_key_value_heads ?? 2 * full.num_query_groups,
  kv_channels: t.swa_head_dim ?? full.kv_channels,
  v_head_dim: t.swa_v_head_dim ?? full.v_head_dim ?? full.kv_channels,
  softmax_type: t.add_swa_attention_sink_bias ?? true ? "learnable" : "vanilla"
})

const theta = (t: Config, kind: "full_attention" | "sliding_attention", otherwise: number): number => {
  const nested = z.looseObject({ rope_theta: z.number() }).safeParse((t.rope_parameters as Record<string, unknown> | null | undefined)?.[kind])
  return (kind === "full_attention" ? t.rope_theta : t.swa_rope_theta) ?? (nested.success ? nested.data.rope_theta : otherwise)
}

export const mimoV2Flash = family({
  name: "mimo-v2-flash",
  architectures: ["MiMoV2FlashForCausalLM"],
  config: schema,
  spellings: [[".self_attn.attention_sink_bias", ".self_attn.sinks"]],
  layout: (t, headers) => ({ experts: expertLayout(headers), modules: appendedModules(headers, t, (k) => `model.mtp.layers.${k}.`) }),
  describe: (t, { experts, modules }) => {
    const kinds = pattern(t)
    const full = transformerOf(t, {
      add_qkv_bias: t.attention_bias ?? false,
      v_head_dim: t.v_head_dim ?? headDimOf(t),
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok,
      moe_layer_freq: t.moe_layer_freq ? perLayer(t.moe_layer_freq, t.num_hidden_layers, "moe_layer_freq") : denseFirst(t, 1),
      moe_ffn_hidden_size: t.moe_intermediate_size,
      moe_router_enable_expert_bias: true,
      mtp_num_layers: modules
    })
    const layers = { full: { ...full, softmax_type: t.add_full_attention_sink_bias ? "learnable" : "vanilla" } as const, sliding: sliding(t, full) }
    const dense = { ...attention, "self_attention.core_attention.softmax_offset": "self_attn.attention_sink_bias", ...denseMlp }
    return textModel({
      tc: full,
      build: (s) =>
        gpt(s, full, {
          layer: (layer, i) => transformerLayer(layer, kinds[i] === 1 ? layers.sliding : layers.full, { linearAttention: false, moe: isMoe(full, i) }),
          mtpLayer: (layer) => transformerLayer(layer, layers.sliding, { linearAttention: false, moe: false })
        }),
      table: {
        ...dense,
        ...router("mlp.gate.weight", "mlp.gate.e_score_correction_bias"),
        ...routedExperts(full, experts)
      },
      rows: [
        ...rows("mtp.layers.*.", "model.mtp.layers.*.", {
          "enorm.weight": "enorm.weight",
          "hnorm.weight": "hnorm.weight",
          "eh_proj.weight": "eh_proj.weight",
          "final_layernorm.weight": "final_layernorm.weight"
        }),
        ...rows("mtp.layers.*.mtp_model_layer.", "model.mtp.layers.*.", { ...dense, "mlp.linear_fc1.layer_norm_weight": "pre_mlp_layernorm.weight" })
      ],
      provider: gptProvider(`${FAMILY}.mimo_v2_flash_provider.MiMoV2FlashModelProvider`, full, {
        ...commonOf({ ...t, rms_norm_eps: t.layernorm_epsilon ?? t.rms_norm_eps }),
        rotary_base: undefined
      }, {
        ...sigmoidRouter({ ...t, routed_scaling_factor: t.routed_scaling_factor ?? 1 }),
        transformer_layer_spec: pythonName(`${FAMILY}.modeling_mimo_v2_flash.mimo_v2_flash_layer_spec`),
        attention_dropout: float(t.attention_dropout ?? 0),
        attention_value_scale: t.attention_value_scale ?? undefined,
        rotary_base: [theta(t, "sliding_attention", 10_000), theta(t, "full_attention", 5_000_000)],
        hybrid_attention_pattern: kinds,
        full_attn_num_query_groups: full.num_query_groups,
        swa_num_query_groups: layers.sliding.num_query_groups,
        window_size: t.sliding_window ?? t.sliding_window_size ?? undefined,
        moe_grouped_gemm: true,
        moe_token_dispatcher_type: "alltoall",
        moe_router_score_function: t.scoring_func ?? "sigmoid",
        moe_router_load_balancing_type: "none",
        moe_router_pre_softmax: true,
        mtp_num_layers: modules
      }, { refuses: ["context", "more-tp-than-groups"] }),
      mtpFields: ["num_nextn_predict_layers"]
    })
  }
})
