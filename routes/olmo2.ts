/** OLMo 2 and 3: norms of the outputs of attention and MLP instead of their inputs, and of all query and all key heads at once; from the third on windows. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { gpt, transformerLayer } from "../src/model/gpt.ts"
import type { Scope } from "../src/model/Scope.ts"
import type { TransformerConfig } from "../src/model/TransformerConfig.ts"
import { NO_PLACE, refuseBiases } from "./shared/biases.ts"
import { afterNorms, attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { count, defaulted } from "./shared/config.ts"
import { forwardOf, rotaryOf, windowsAt } from "./shared/forward.ts"
import { BIAS_FUSIONS } from "./shared/fusions.ts"
import { windowFieldsOf } from "./shared/layerPatterns.ts"
import { commonOf, denseFields, extraOf, headDimOf, type TextConfig, transformerOf } from "./shared/llama.ts"
import { perLayer } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields, scalingOf } from "./shared/ropeScaling.ts"
import { windowedBut } from "./shared/slidingTypes.ts"
import { GPT, textModel } from "./shared/textModel.ts"
import { NEEDS, needsNote } from "./shared/trainerNeeds.ts"

const PUBLISHED = { rms_norm_eps: 1e-5, max_position_embeddings: 2048 }

const table = { ...attention, ...qkNorm, ...denseMlp, ...afterNorms }

const transformer = (t: TextConfig) => {
  refuseBiases(t, ["attention_bias"], NO_PLACE.normedOutput)
  return transformerOf(t, { qk_layernorm: true })
}

const build = (tc: TransformerConfig) => (s: Scope) =>
  gpt(s, tc, { layer: (layer) => transformerLayer(layer, tc, { linearAttention: false, moe: false }, { norms: "after", qkNorm: "replicated" }) })

export const olmo2 = family({
  name: "olmo2",
  architectures: ["Olmo2ForCausalLM"],
  config: () => defaulted(PUBLISHED, z.looseObject(denseFields)),
  describe: (t) => {
    const tc = transformer(t)
    return textModel({
      tc,
      build: build(tc),
      table,
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...BIAS_FUSIONS, ...llamaScalingFields(t) }),
      forward: forwardOf(t),
      notes: needsNote(NEEDS.outputNorms, NEEDS.wideNorms)
    })
  }
})

const section = z.looseObject({ rope_theta: z.number().positive().nullish() }).nullish()
const olmo3Schema = z.looseObject({
  ...denseFields,
  sliding_window: count.nullable().default(4096),
  layer_types: z.array(z.enum(["sliding_attention", "full_attention"])).max(100_000).nullish(),
  rope_parameters: z.looseObject({ rope_theta: z.number().positive().nullish(), full_attention: section, sliding_attention: section }).nullish()
})

/** The config as one kind of layers has it: only those of full attention stretch their positions. */
const seenBy = (t: z.infer<typeof olmo3Schema>, kind: "full_attention" | "sliding_attention"): TextConfig => {
  const own = t.rope_parameters?.[kind]
  const theta = own?.rope_theta ?? t.rope_parameters?.rope_theta ?? t.rope_theta
  return {
    ...t,
    rope_theta: theta,
    rope_parameters: { ...own, rope_theta: theta },
    rope_scaling: kind === "full_attention" ? t.rope_scaling : undefined
  }
}

export const olmo3 = family({
  name: "olmo3",
  architectures: ["Olmo3ForCausalLM"],
  config: () => defaulted({ ...PUBLISHED, rope_theta: 500_000 }, olmo3Schema),
  describe: (t) => {
    const tc = transformer(t)
    const kinds = perLayer(windowedBut(t, 4), t.num_hidden_layers, "layer_types")
    const [full, sliding] = [seenBy(t, "full_attention"), seenBy(t, "sliding_attention")]
    const head = headDimOf(t)
    const [turned, turnedInWindow] = [rotaryOf(full, head), rotaryOf(sliding, head)]
    const apart = kinds.includes("sliding_attention") && (scalingOf(full) !== undefined || scalingOf(sliding) !== undefined || full.rope_theta !== sliding.rope_theta)
    return textModel({
      tc,
      build: build(tc),
      table,
      provider: gptProvider(GPT, tc, commonOf(full), {
        ...extraOf(full),
        ...BIAS_FUSIONS,
        ...llamaScalingFields(full),
        ...windowFieldsOf(t.sliding_window, kinds.map((kind) => kind === "sliding_attention"))
      }),
      forward: turned === "unknown" || turnedInWindow === "unknown"
        ? undefined
        : forwardOf(full, { windows: windowsAt(kinds, t.sliding_window), layer: (i) => ({ rotary: kinds[i] === "full_attention" ? turned : turnedInWindow }) }),
      notes: needsNote(NEEDS.outputNorms, NEEDS.wideNorms, ...(apart ? [NEEDS.stretchedApart] : []))
    })
  }
})
