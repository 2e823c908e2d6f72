/** GLM-4 (dense): gate and up in one tensor, the first half of each head rotated in neighbouring pairs; since April 2025 norms around attention and MLP. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { defaulted } from "./shared/config.ts"
import { forwardOf } from "./shared/forward.ts"
import { BIAS_FUSIONS } from "./shared/fusions.ts"
import { commonOf, denseFields, extraOf, type TextConfig, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"
import { NEEDS, needsNote } from "./shared/trainerNeeds.ts"

const schema = () => defaulted(
  { num_key_value_heads: 2, head_dim: 128, attention_bias: true, rms_norm_eps: 1.5625e-7, max_position_embeddings: 131_072, partial_rotary_factor: 0.5 },
  z.looseObject(denseFields)
)

/** Biases on query, key and value alone. */
const transformer = (t: TextConfig) => transformerOf(t, { add_qkv_bias: t.attention_bias ?? false })
const provider = (t: TextConfig, tc: ReturnType<typeof transformer>) =>
  gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...BIAS_FUSIONS, ...llamaScalingFields(t), rotary_interleaved: true })

const layer = { ...attention, ...denseMlp, "mlp.linear_fc1.weight": "mlp.gate_up_proj.weight" }

export const glm = family({
  name: "glm-4",
  architectures: ["GlmForCausalLM"],
  config: schema,
  describe: (t) => {
    const tc = transformer(t)
    return textModel({ tc, table: layer, provider: provider(t, tc), forward: forwardOf(t, { rotary: { interleaved: true } }) })
  }
})

export const glm4 = family({
  name: "glm-4-0414",
  architectures: ["Glm4ForCausalLM"],
  config: schema,
  describe: (t) => {
    const tc = transformer(t)
    return textModel({
      tc,
      norms: "around",
      table: {
        ...layer,
        "self_attention.linear_proj.post_layernorm.weight": "post_self_attn_layernorm.weight",
        "mlp.linear_fc2.post_layernorm.weight": "post_mlp_layernorm.weight"
      },
      provider: provider(t, tc),
      forward: forwardOf(t, { rotary: { interleaved: true } }),
      notes: needsNote(NEEDS.outputNorms)
    })
  }
})
