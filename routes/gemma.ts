/** Gemma 1-3, text: heads of their own width, GeLU gates, tied embeddings; from the second on norms around each block. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float, type PythonValue } from "../src/runconfig/Provider.ts"
import { attentionBiases, biasFields, NO_PLACE, refuseBiases, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { aroundNorms, attention, denseMlp, mlpBiases, qkNorm } from "./shared/blocks.ts"
import { size } from "./shared/config.ts"
import { dualRope, dualRopeFields } from "./shared/dualRope.ts"
import { windowsAt } from "./shared/forward.ts"
import { dualRopeForward, gemmaForward } from "./shared/gemma.ts"
import { commonOf, denseFields, extraOf, type TextConfig, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { slidingWindowOf, windowedBut } from "./shared/slidingTypes.ts"
import { textModel } from "./shared/textModel.ts"

const fields = {
  ...denseFields,
  head_dim: size.default(256),
  query_pre_attn_scalar: z.number().positive().default(256),
  sliding_window: size.nullable().default(4096),
  attn_logit_softcapping: z.number().nullish(),
  final_logit_softcapping: z.number().nullish()
}

const PROVIDERS = "megatron.bridge.models.gemma."

/** Embeddings are tied unless the config says otherwise. */
const transformer = (t: TextConfig) => transformerOf(t, { ...biasFields(attentionBiases(t)), share_embeddings_and_output_weights: t.tie_word_embeddings ?? true })

/** Norm weights are deviations from one on both sides. Old configs call the activation `gelu` and mean its tanh form. */
const provider = (name: string, t: TextConfig, tc: ReturnType<typeof transformer>, extra: Record<string, PythonValue>) =>
  gptProvider(
    PROVIDERS + name,
    tc,
    commonOf({ ...t, hidden_act: "gelu_pytorch_tanh" }),
    { ...extraOf(t), layernorm_zero_centered_gamma: true, ...extra }
  )

export const gemma = family({
  name: "gemma",
  architectures: ["GemmaForCausalLM"],
  config: () => z.looseObject({ ...fields, num_key_value_heads: size.default(16) }),
  describe: (t) => {
    const tc = transformer(t)
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...denseMlp, ...mlpBiases }, attentionBiases(t)),
      provider: provider("gemma_provider.GemmaModelProvider", t, tc, {}),
      forward: gemmaForward(t),
      ...zeroBiases(attentionBiases(t))
    })
  }
})

export const gemma2 = family({
  name: "gemma2",
  architectures: ["Gemma2ForCausalLM"],
  config: () => z.looseObject({
    ...fields,
    num_key_value_heads: size.default(4),
    attn_logit_softcapping: z.number().nullable().default(50),
    final_logit_softcapping: z.number().nullable().default(30)
  }),
  describe: (t) => {
    refuseBiases(t, ["attention_bias"], NO_PLACE.normedOutput)
    const tc = transformer(t)
    return textModel({
      tc,
      norms: "around",
      table: { ...attention, ...denseMlp, ...aroundNorms },
      provider: { ...provider("gemma2_provider.Gemma2ModelProvider", t, tc, {
        query_pre_attn_scalar: t.query_pre_attn_scalar,
        attn_logit_softcapping: t.attn_logit_softcapping,
        final_logit_softcapping: t.final_logit_softcapping,
        ...(t.sliding_window === null ? {} : { window_size: [t.sliding_window - 1, 0] })
      }), refuses: ["context"] },
      forward: gemmaForward(t, {
        ...(t.final_logit_softcapping ? { logitSoftCap: t.final_logit_softcapping } : {}),
        layer: () => ({ scale: 1 / Math.sqrt(t.query_pre_attn_scalar), softCap: t.attn_logit_softcapping }),
        windows: windowsAt(windowedBut(t, 2), t.sliding_window)
      })
    })
  }
})

export const gemma3 = family({
  name: "gemma3",
  architectures: ["Gemma3ForCausalLM"],
  config: () => z.looseObject({ ...fields, ...dualRopeFields, num_key_value_heads: size.default(4) }),
  describe: (t) => {
    refuseBiases(t, ["attention_bias"], NO_PLACE.normedOutput)
    const tc = { ...transformer(t), qk_layernorm: true }
    const { factor, global, local } = dualRope(t)
    return textModel({
      tc,
      norms: "around",
      table: { ...attention, ...qkNorm, ...denseMlp, ...aroundNorms },
      provider: provider("gemma3_provider.Gemma3ModelProvider", t, tc, {
        rotary_base: [float(local), float(global)],
        softmax_scale: 1 / Math.sqrt(t.query_pre_attn_scalar),
        ...(factor === undefined ? {} : { rope_scaling_factor: float(factor) }),
        ...(t.sliding_window === null ? {} : { window_size: slidingWindowOf({ ...t, sliding_window: t.sliding_window }) })
      }),
      forward: dualRopeForward(t)
    })
  }
})
