/** LLaDA: Llama under OLMo's names, trained as a masked diffusion model. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { gatedMlpOf, qkvOf } from "../src/bridge/kinds.ts"
import { float } from "../src/runconfig/Provider.ts"
import { rows } from "../src/bridge/Registry.ts"
import { gpt } from "../src/model/gpt.ts"
import { activationOf } from "./shared/activations.ts"
import { biasFields, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { dtypeField, many, size } from "./shared/config.ts"
import { dtypeOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"

const config = z.looseObject({
  n_layers: many.min(1),
  d_model: size,
  n_heads: size,
  n_kv_heads: size.nullish(),
  mlp_hidden_size: size.nullish(),
  mlp_ratio: size.default(4),
  vocab_size: size,
  /** Rows of the embedding, the vocabulary padded. */
  embedding_size: size.nullish(),
  max_sequence_length: size.nullish(),
  rms_norm_eps: z.number().default(1e-5),
  rope_theta: z.number().default(10_000),
  init_std: z.number().default(0.02),
  weight_tying: z.boolean().nullish(),
  include_bias: z.boolean().default(false),
  include_qkv_bias: z.boolean().nullish(),
  residual_dropout: z.number().default(0),
  attention_dropout: z.number().default(0),
  activation_type: z.string().default("silu"),
  block_type: z.literal("llama"),
  layer_norm_type: z.literal("rms"),
  attention_layer_norm: z.literal(false).nullish(),
  dtype: dtypeField,
  torch_dtype: dtypeField
})

export const llada = family({
  name: "llada",
  architectures: ["LLaDAModelLM"],
  config,
  describe: (c) => {
    const biases = { qkv: c.include_qkv_bias ?? c.include_bias, output: c.include_bias, mlp: c.include_bias }
    const tc = transformerOf({
      num_hidden_layers: c.n_layers,
      hidden_size: c.d_model,
      intermediate_size: c.mlp_hidden_size ?? c.mlp_ratio * c.d_model,
      num_attention_heads: c.n_heads,
      num_key_value_heads: c.n_kv_heads,
      vocab_size: c.embedding_size ?? c.vocab_size
    }, {
      ...biasFields(biases),
      share_embeddings_and_output_weights: c.weight_tying ?? true
    })
    return {
      modules: [{ kind: "language", path: "", config: tc, build: (s) => gpt(s, tc) }],
      rows: [
        ...rows("", "model.transformer.", {
          "embedding.word_embeddings.weight": "wte.weight",
          "decoder.final_layernorm.weight": "ln_f.weight",
          "output_layer.weight": "ff_out.weight"
        }),
        ...rows("decoder.layers.*.", "model.transformer.blocks.*.", withZeroBiases({
          "self_attention.linear_qkv.layer_norm_weight": "attn_norm.weight",
          "self_attention.linear_qkv.weight": qkvOf("{q,k,v}_proj.weight"),
          "self_attention.linear_qkv.bias": qkvOf("{q,k,v}_proj.bias"),
          "self_attention.linear_proj.weight": "attn_out.weight",
          "self_attention.linear_proj.bias": "attn_out.bias",
          "mlp.linear_fc1.layer_norm_weight": "ff_norm.weight",
          "mlp.linear_fc1.weight": gatedMlpOf("{ff,up}_proj.weight"),
          "mlp.linear_fc1.bias": gatedMlpOf("{ff,up}_proj.bias"),
          "mlp.linear_fc2.weight": "ff_out.weight",
          "mlp.linear_fc2.bias": "ff_out.bias"
        }, biases))
      ],
      provider: gptProvider("megatron.bridge.diffusion.models.llada15.llada15_provider.LLaDA15ModelProvider", tc, {
        dtype: dtypeOf(c),
        activation: activationOf(c.activation_type),
        layernorm_epsilon: c.rms_norm_eps,
        init_method_std: c.init_std,
        rotary_base: c.rope_theta,
        rotary_percent: 1,
        seq_length: c.max_sequence_length
      }, { hidden_dropout: float(c.residual_dropout), attention_dropout: float(c.attention_dropout) }),
      ...zeroBiases(biases, [{ path: "include_qkv_bias", value: true }]),
      vocabulary: { embedding: "model.transformer.wte.weight", head: "model.transformer.ff_out.weight", tied: tc.share_embeddings_and_output_weights, flag: "weight_tying" }
    }
  }
})
