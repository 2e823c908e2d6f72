/** What language models compute, from the fields of config.json (src/model/Forward.ts); undefined where a field means more than is known there. */
import { z } from "zod"
import type { Activation, AttentionFacts, ForwardFacts, Rotary, RotaryScaling, RouterFacts } from "../../src/model/Forward.ts"
import { many, ropeOf } from "./config.ts"
import { headDimOf, type TextConfig } from "./llama.ts"
import type { MoeConfig } from "./moe.ts"
import { type RopeScaling, scalingOf } from "./ropeScaling.ts"
import { windowedTail, windowFields } from "./slidingTypes.ts"

const ACTIVATIONS: Readonly<Record<string, Activation>> = {
  silu: "silu",
  swish: "silu",
  gelu: "gelu",
  gelu_new: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  quick_gelu: "quick-gelu",
  relu: "relu",
  relu2: "squared-relu"
}

const numberOf = (value: unknown, otherwise: number): number => (typeof value === "number" ? value : otherwise)

/** Growth of attention with a stretch by `factor` (YaRN). */
const magnitude = (factor: number, by = 1): number => (factor <= 1 ? 1 : 0.1 * by * Math.log(factor) + 1)

const yarn = (s: RopeScaling, longest: number | null | undefined): RotaryScaling | undefined => {
  const length = s.original_max_position_embeddings ?? longest
  if (typeof length !== "number") return undefined
  const factor = s.factor ?? numberOf(longest, length) / length
  const { mscale, mscale_all_dim: all } = s
  return {
    kind: "yarn",
    factor,
    length,
    betaFast: s.beta_fast || 32,
    betaSlow: s.beta_slow || 1,
    truncate: s.truncate ?? true,
    magnitude: numberOf(s["attention_factor"], mscale && all ? magnitude(factor, mscale) / magnitude(factor, all) : magnitude(factor))
  }
}

/** `unknown`: a stretch that the forward check does not compute. */
const stretchOf = (t: Parameters<typeof scalingOf>[0]): RotaryScaling | undefined | "unknown" => {
  const s = scalingOf(t)
  switch (s?.kind) {
    case undefined:
    // Of three axes of positions, which are one for text.
    case "mrope": return undefined
    case "dynamic": return typeof t.max_position_embeddings === "number" ? { kind: "dynamic", factor: s.factor ?? 1, length: t.max_position_embeddings } : "unknown"
    case "linear": return { kind: "linear", factor: s.factor ?? 1 }
    case "llama3": return {
      kind: "by-wavelength",
      factor: s.factor ?? 8,
      low: numberOf(s["low_freq_factor"], 1),
      high: numberOf(s["high_freq_factor"], 4),
      length: s.original_max_position_embeddings ?? 8192
    }
    case "yarn": return yarn(s, t.max_position_embeddings) ?? "unknown"
    default: return "unknown"
  }
}

/** The rotary embedding of heads of width `head`. */
export const rotaryOf = (t: TextConfig, head: number, change: Partial<Rotary> = {}): Rotary | "unknown" => {
  const { percent, theta } = ropeOf(t)
  const scaling = stretchOf(t)
  if (scaling === "unknown") return "unknown"
  return { base: theta, width: Math.floor(head * percent), interleaved: false, ...(scaling ? { scaling } : {}), ...change }
}

/** `unknown`: config.json says something about them that is not understood. */
type Windows = "unknown" | ((layer: number) => number | null | undefined)

/** What a family says beside the common fields. */
export interface ForwardChange extends Partial<Omit<ForwardFacts, "attention">> {
  /** HF's name, where it is not that of config.json. */
  readonly hiddenAct?: string
  readonly rotary?: Partial<Rotary>
  /** Keys that a query of a layer sees. */
  readonly windows?: Windows | undefined
  /** What a layer has otherwise; null: not at all. */
  readonly layer?: (layer: number) => { readonly [K in "rotary" | "softCap" | "growth"]?: AttentionFacts[K] | null | undefined } & { readonly scale?: number }
}

/** RMSNorm, an activation by its HF name, rotary positions, scores over the root of the head's width: what `change` does not say otherwise. */
export const forwardOf = (t: TextConfig, change: ForwardChange = {}): ForwardFacts | undefined => {
  const { hiddenAct, layer, rotary: turn, windows, ...facts } = change
  const activation = facts.activation ?? ACTIVATIONS[hiddenAct ?? t.hidden_act ?? t.hidden_activation ?? "silu"]
  const head = headDimOf(t)
  const rotary = rotaryOf(t, head, turn)
  if (activation === undefined || rotary === "unknown" || windows === "unknown") return undefined
  const attention = Array.from({ length: t.num_hidden_layers }, (_, i): AttentionFacts => {
    const { growth, rotary: turned = rotary, scale = 1 / Math.sqrt(head), softCap } = layer?.(i) ?? {}
    const window = windows?.(i)
    return { scale, ...(turned ? { rotary: turned } : {}), ...(softCap ? { softCap } : {}), ...(growth ? { growth } : {}), ...(window ? { window } : {}) }
  })
  return { epsilon: t.rms_norm_eps ?? 1e-6, zeroCentred: false, ...facts, activation, attention }
}

const windowed = z.looseObject({ ...windowFields, num_hidden_layers: many })

/** Windows of the last layers, where config.json asks for them. */
export const tailWindows = (t: TextConfig): Windows | undefined => {
  if (t["use_sliding_window"] !== true) return undefined
  const { data } = windowed.safeParse(t)
  return data ? windowsAt(windowedTail(data), data.sliding_window ?? 4096) : "unknown"
}

/** A window in layers of this kind. */
export const windowsAt = (kinds: ReadonlyArray<string>, window: number | null | undefined) => (layer: number): number | null | undefined =>
  kinds[layer] === "sliding_attention" ? window : undefined

/**
 * Latent attention: the rotary part of a head is turned in neighbouring pairs unless config.json says otherwise; where positions are
 * stretched, scores grow with the stretch. The norms of latents have the epsilon of their class, whatever config.json says.
 */
export const latentForward = (t: TextConfig & Heads, router: RouterFacts): ForwardFacts | undefined => {
  const plain = { ...t, head_dim: t.qk_rope_head_dim }
  const rotary = rotaryOf(plain, t.qk_rope_head_dim, { interleaved: t["rope_interleave"] !== false })
  if (rotary === "unknown") return undefined
  const s = scalingOf(t)
  const growth = s?.mscale_all_dim ? magnitude(s.factor ?? 1, s.mscale_all_dim) : 1
  const scale = growth ** 2 / Math.sqrt(t.qk_nope_head_dim + t.qk_rope_head_dim)
  return forwardOf(plain, { router, latentEpsilon: 1e-6, layer: () => ({ rotary, scale }) })
}

interface Heads {
  readonly qk_nope_head_dim: number
  readonly qk_rope_head_dim: number
}

/** Experts chosen by softmax; `norm_topk_prob` where config.json does not say. */
export const softmaxRouter = (t: Pick<MoeConfig, "norm_topk_prob">, normalized = false): RouterFacts =>
  ({ score: "softmax", scale: 1, ...(t.norm_topk_prob ?? normalized ? { normalized: { least: 0 } } : {}) })

/** Experts scored by sigmoid, chosen within groups, and weighed by their share times a factor. */
export const sigmoidRouterFacts = (t: Pick<MoeConfig, "norm_topk_prob" | "n_group" | "topk_group" | "routed_scaling_factor">): RouterFacts => ({
  score: "sigmoid",
  scale: t.routed_scaling_factor ?? 1,
  ...(t.norm_topk_prob ?? true ? { normalized: { least: 1e-20 } } : {}),
  ...(t.n_group && t.topk_group && t.n_group > 1 ? { groups: { count: t.n_group, chosen: t.topk_group, by: "two-best" } } : {})
})
