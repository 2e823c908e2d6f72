/**
 * What a language model computes with the parameters of its typed modules, as facts that its config.json states: positions, windows,
 * scales, routing. Sizes are in the blocks (Block.ts); what is here is what no parameter shows.
 */

/** Between the two matrices of an MLP, on the gate where it has one. */
export type Activation = "silu" | "gelu" | "gelu-tanh" | "quick-gelu" | "relu" | "squared-relu"

/** Frequencies stretched beyond the trained length. `length`: positions that the model was trained on first. */
export type RotaryScaling =
  | { readonly kind: "linear"; readonly factor: number }
  /** The base grows with a text that is longer. */
  | { readonly kind: "dynamic"; readonly factor: number; readonly length: number }
  | { readonly kind: "by-wavelength"; readonly factor: number; readonly low: number; readonly high: number; readonly length: number }
  | {
    readonly kind: "yarn"
    readonly factor: number
    readonly length: number
    readonly betaFast: number
    readonly betaSlow: number
    /** The borders of the ramp are rounded outwards to whole dimensions. */
    readonly truncate: boolean
    /** Factor of sines and cosines. */
    readonly magnitude: number
  }

/** Rotary position embedding. */
export interface Rotary {
  readonly base: number
  /** Leading elements of a head that are turned (of latent attention: of its rotary part). */
  readonly width: number
  /** Pairs are neighbours (2i, 2i + 1) instead of halves apart (i, i + width / 2). */
  readonly interleaved: boolean
  readonly scaling?: RotaryScaling
}

/** One layer's attention. */
export interface AttentionFacts {
  /** Absent: positions are not encoded. */
  readonly rotary?: Rotary
  /** Factor of the products of queries and keys. */
  readonly scale: number
  /** They grow with each stretch of so many positions before the query: by 1 + beta · ln(1 + ⌊position / length⌋). */
  readonly growth?: { readonly beta: number; readonly length: number }
  /** Keys that a query sees, its own included; absent: all before it. */
  readonly window?: number
  /** Scores s become cap · tanh(s / cap). */
  readonly softCap?: number
  /** Norms of queries and keys come behind the rotary embedding, not in front of it. */
  readonly normAfterRotary?: true
}

/** How a router chooses experts and weighs them. Its correction bias, where there is one, counts for the choice only. */
export interface RouterFacts {
  /** `chosen-softmax`: over the scores of the chosen experts alone. */
  readonly score: "softmax" | "sigmoid" | "chosen-softmax"
  /** Weights of the chosen are divided by their sum, but by no less than `least`. */
  readonly normalized?: { readonly least: number }
  /** Factor of the weights. */
  readonly scale: number
  /** Only experts of the best `chosen` of `count` groups are eligible; a group is as good as its best expert, or its two best together. */
  readonly groups?: { readonly count: number; readonly chosen: number; readonly by: "best" | "two-best" }
}

/** A gated activation with limits: gate · σ(slope · gate) · (up + offset), the gate at most `limit`, up within ± `limit`. */
export interface LimitedGate {
  readonly limit: number
  readonly slope: number
  readonly offset: number
}

/** A whole language model. */
export interface ForwardFacts {
  readonly epsilon: number
  /** Of the norms of latents (latent attention), where it is another. */
  readonly latentEpsilon?: number
  /** Norm weights are deviations from 1. */
  readonly zeroCentred: boolean
  readonly activation: Activation | LimitedGate
  /** Factor of token embeddings. */
  readonly embeddingScale?: number
  /** Factor of what attention and MLP add to the residual stream. */
  readonly residualScale?: number
  /** Factor of the logits. */
  readonly logitScale?: number
  /** Logits l become cap · tanh(l / cap). */
  readonly logitSoftCap?: number
  /** Of each decoder layer. */
  readonly attention: ReadonlyArray<AttentionFacts>
  /** Where there are experts. */
  readonly router?: RouterFacts
}
