/** Hunyuan V1, dense and MoE: norms of each query and key head behind the rotary embedding; beside the routed experts one MLP for all tokens. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { biasFields, flaggedBiases, flaggedZeroBiases, NO_PLACE, refuseBiases, withZeroBiases } from "./shared/biases.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { defaulted, size } from "./shared/config.ts"
import { expertLayout, routedExperts } from "./shared/experts.ts"
import { type ForwardChange, forwardOf, softmaxRouter } from "./shared/forward.ts"
import { BIAS_FUSIONS } from "./shared/fusions.ts"
import { commonOf, denseFields, extraOf, type TextConfig, transformerOf } from "./shared/llama.ts"
import { auxLossOf, expertsOf, GROUPED, moeFields, perLayer, router, sharedExperts } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { llamaScalingFields } from "./shared/ropeScaling.ts"
import { GPT, textModel } from "./shared/textModel.ts"
import { FormatError } from "../src/errors.ts"
import { NEEDS, needsNote } from "./shared/trainerNeeds.ts"

type Section = Readonly<Record<string, unknown>>
const isSection = (value: unknown): value is Section => typeof value === "object" && value !== null && !Array.isArray(value)

/** `dynamic` with an `alpha` is a larger base, the same at every length: θ · α^(d / (d − 2)). */
const withBase = (c: unknown): unknown => {
  if (!isSection(c)) return c
  const [name, scaling] = (["rope_scaling", "rope_parameters"] as const).map((key) => [key, c[key]] as const).find(([, own]) => isSection(own)) ?? []
  if (!isSection(scaling) || (scaling["rope_type"] ?? scaling["type"]) !== "dynamic" || typeof scaling["alpha"] !== "number") return c
  const { alpha, rope_theta: own, type: _, ...rest } = scaling
  const head = Number(c["head_dim"] ?? Number(c["hidden_size"]) / Number(c["num_attention_heads"]))
  const theta = Number(own ?? c["rope_theta"] ?? 10_000) * Number(alpha) ** (head / (head - 2))
  if (!(Number.isFinite(theta) && theta > 0)) return c
  return { ...c, [name!]: null, rope_theta: theta, rope_parameters: { ...rest, rope_type: "default", rope_theta: theta } }
}

const qkNorms = {
  "self_attention.q_layernorm.weight": "self_attn.query_layernorm.weight",
  "self_attention.k_layernorm.weight": "self_attn.key_layernorm.weight"
}

const forward = (t: TextConfig, change: ForwardChange = {}) => {
  const facts = forwardOf(t, change)
  return facts && { ...facts, attention: facts.attention.map((own) => ({ ...own, normAfterRotary: true as const })) }
}

const PUBLISHED = { rms_norm_eps: 1e-5, max_position_embeddings: 2048 }
const notes = needsNote(NEEDS.normsBehindRotary)

export const hunYuanDense = family({
  name: "hunyuan-dense",
  architectures: ["HunYuanDenseV1ForCausalLM"],
  config: () => z.preprocess(withBase, defaulted(PUBLISHED, z.looseObject(denseFields))),
  describe: (t) => {
    const biases = flaggedBiases({ attention_bias: t.attention_bias })
    const tc = transformerOf(t, { ...biasFields(biases), qk_layernorm: true })
    return textModel({
      tc,
      table: withZeroBiases({ ...attention, ...qkNorms, ...denseMlp }, biases),
      provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...BIAS_FUSIONS, ...llamaScalingFields(t) }),
      forward: forward(t),
      ...flaggedZeroBiases({ attention_bias: t.attention_bias }),
      notes
    })
  }
})

/** The trainer has one number for all layers. */
const sameEverywhere = (value: number | ReadonlyArray<number>, layers: number, field: string): number => {
  if (typeof value === "number") return value
  const found = [...new Set(perLayer(value, layers, field))]
  if (found.length !== 1) throw new FormatError("config/layers", `layers differ (${found.join(", ")}), and the trainer has one number for all of them`, { field })
  return found[0]!
}

export const hunYuanMoe = family({
  name: "hunyuan-moe",
  architectures: ["HunYuanMoEV1ForCausalLM"],
  config: () => z.preprocess(withBase, defaulted(PUBLISHED, z.looseObject({
    ...moeFields,
    intermediate_size: size,
    num_experts: size.default(1),
    moe_topk: z.union([size, z.array(size).max(100_000)]).default(1),
    /** One for each layer in the published one; the experts are as wide as intermediate_size says. */
    moe_intermediate_size: z.union([size, z.array(size).max(100_000)]).nullish()
  }))),
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    refuseBiases(t, ["attention_bias"], NO_PLACE.shared)
    const tc = transformerOf(t, {
      qk_layernorm: true,
      num_moe_experts: expertsOf(t),
      moe_router_topk: sameEverywhere(t.moe_topk, t.num_hidden_layers, "moe_topk"),
      moe_ffn_hidden_size: t.intermediate_size,
      moe_shared_expert_intermediate_size: t.intermediate_size
    })
    return textModel({
      tc,
      table: { ...attention, ...qkNorms, ...router("mlp.gate.wg.weight"), ...sharedExperts("mlp.shared_mlp."), ...routedExperts(tc, experts) },
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...BIAS_FUSIONS,
        ...llamaScalingFields(t),
        moe_router_dtype: "fp32",
        moe_aux_loss_coeff: auxLossOf(t)
      }),
      forward: forward(t, { router: softmaxRouter({}, true) }),
      notes
    })
  }
})
