/** What happens to numbers one by one, or row by row. */
import type { Activation, LimitedGate } from "../model/Forward.ts"

/** Error function, to 1.2e-7 of its value's range (W. J. Cody's rational form would be no better in F32). */
const erf = (x: number): number => {
  const t = 1 / (1 + 0.5 * Math.abs(x))
  const tail = t * Math.exp(-x * x - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 +
    t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))))
  return x >= 0 ? 1 - tail : tail - 1
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

const FUNCTIONS: Readonly<Record<Activation, (x: number) => number>> = {
  silu: (x) => x * sigmoid(x),
  gelu: (x) => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  "gelu-tanh": (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  "quick-gelu": (x) => x * sigmoid(1.702 * x),
  relu: (x) => Math.max(x, 0),
  "squared-relu": (x) => Math.max(x, 0) ** 2
}

/** How a gate and what it lets through become one number. */
const gatedBy = (activation: Activation | LimitedGate): (gate: number, up: number) => number => {
  if (typeof activation === "string") {
    const f = FUNCTIONS[activation]
    return (gate, up) => f(gate) * up
  }
  const { limit, offset, slope } = activation
  return (gate, up) => {
    const low = Math.min(gate, limit)
    return low * sigmoid(slope * low) * (Math.max(-limit, Math.min(up, limit)) + offset)
  }
}

/** [tokens, ffn] of the first matrix's output: [tokens, 2 · ffn], gates in front, where gated. */
export const activated = (x: Float32Array, ffn: number, gated: boolean, activation: Activation | LimitedGate): Float32Array => {
  if (!gated) {
    if (typeof activation !== "string") throw new RangeError("an activation with limits needs a gate")
    return x.map(FUNCTIONS[activation])
  }
  const by = gatedBy(activation)
  const out = new Float32Array(x.length / 2)
  for (let row = 0; row < out.length; row += ffn) {
    for (let i = 0; i < ffn; i++) out[row + i] = by(x[2 * row + i]!, x[2 * row + ffn + i]!)
  }
  return out
}

/** Scores s become cap · tanh(s / cap), in place. */
export const softCapped = (x: Float32Array, cap: number | undefined): void => {
  if (cap === undefined) return
  for (let i = 0; i < x.length; i++) x[i] = cap * Math.tanh(x[i]! / cap)
}

/** What a norm consists of, read. */
export interface NormValues {
  readonly weight: Float32Array
  /** Means are subtracted where there is one (LayerNorm). */
  readonly bias?: Float32Array
  readonly epsilon: number
  /** The weight is a deviation from 1. */
  readonly zeroCentred: boolean
}

/** Each row of x, of the norm's width, normalised. */
export const normalised = (x: Float32Array, { bias, epsilon, weight, zeroCentred }: NormValues): Float32Array => {
  const width = weight.length
  const out = new Float32Array(x.length)
  for (let row = 0; row < x.length; row += width) {
    let mean = 0
    if (bias) for (let i = 0; i < width; i++) mean += x[row + i]! / width
    let square = 0
    for (let i = 0; i < width; i++) square += (x[row + i]! - mean) ** 2
    const inverse = 1 / Math.sqrt(square / width + epsilon)
    for (let i = 0; i < width; i++) {
      out[row + i] = (x[row + i]! - mean) * inverse * (zeroCentred ? 1 + weight[i]! : weight[i]!) + (bias ? bias[i]! : 0)
    }
  }
  return out
}
