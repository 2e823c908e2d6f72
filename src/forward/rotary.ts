/** Rotary position embedding, with torch's roundings of angles: F32 frequencies times F32 positions. */
import type { Rotary, RotaryScaling } from "../model/Forward.ts"

const TURN = 2 * Math.PI

/** Long waves are stretched, short ones kept, those between in proportion. */
const stretchedByWavelength = (frequency: number, { factor, high, length, low }: Extract<RotaryScaling, { kind: "by-wavelength" }>): number => {
  const wave = TURN / frequency
  if (wave > length / low) return frequency / factor
  if (wave < length / high) return frequency
  const kept = (length / wave - low) / (high - low)
  return ((1 - kept) * frequency) / factor + kept * frequency
}

/** YaRN's ramp between pairs that turn often within the trained length, which are kept, and those that do not, which are stretched. */
const yarnKept = ({ base, width }: Rotary, { betaFast, betaSlow, length, truncate }: Extract<RotaryScaling, { kind: "yarn" }>): (pair: number) => number => {
  const pairOf = (turns: number): number => (width * Math.log(length / (turns * TURN))) / (2 * Math.log(base))
  const [fast, slow] = [pairOf(betaFast), pairOf(betaSlow)]
  const low = Math.max(truncate ? Math.floor(fast) : fast, 0)
  const high = Math.min(truncate ? Math.ceil(slow) : slow, width - 1)
  return (pair) => 1 - Math.min(1, Math.max(0, (pair - low) / ((high === low ? low + 0.001 : high) - low)))
}

const grownBase = ({ base, scaling, width }: Rotary, tokens: number): number =>
  scaling?.kind === "dynamic" && tokens > scaling.length
    ? base * ((scaling.factor * tokens) / scaling.length - (scaling.factor - 1)) ** (width / (width - 2))
    : base

/** Radians per position of each pair, as F32; `tokens` is the length of the text. */
const frequencies = (rotary: Rotary, tokens: number): Float32Array => {
  const { scaling, width } = rotary
  const base = grownBase(rotary, tokens)
  const kept = scaling?.kind === "yarn" ? yarnKept(rotary, scaling) : () => 1
  return Float32Array.from({ length: width / 2 }, (_, pair) => {
    const plain = Math.fround(1 / Math.fround(base ** Math.fround((2 * pair) / width)))
    switch (scaling?.kind) {
      case undefined:
      case "dynamic": return plain
      case "linear": return plain / scaling.factor
      case "by-wavelength": return stretchedByWavelength(plain, scaling)
      case "yarn": return (plain / scaling.factor) * (1 - kept(pair)) + plain * kept(pair)
    }
  })
}

/** Cosines and sines of positions 0 … tokens − 1, [tokens, width / 2] each. */
export interface RotaryTable {
  readonly cosines: Float32Array
  readonly sines: Float32Array
}

export const rotaryTable = (rotary: Rotary, tokens: number): RotaryTable => {
  const turns = frequencies(rotary, tokens)
  const magnitude = rotary.scaling?.kind === "yarn" ? rotary.scaling.magnitude : 1
  const of = (f: (angle: number) => number) =>
    Float32Array.from({ length: tokens * turns.length }, (_, i) => f(Math.fround(Math.floor(i / turns.length) * turns[i % turns.length]!)) * magnitude)
  return { cosines: of(Math.cos), sines: of(Math.sin) }
}

/** Turn `width` elements from `start` on of each head of x, [tokens, heads, size], in place. */
export const rotate = (x: Float32Array, { cosines, sines }: RotaryTable, { interleaved, width }: Rotary, heads: number, size: number, start = 0): void => {
  const pairs = width / 2
  const [step, across] = interleaved ? [2, 1] : [1, pairs]
  const tokens = x.length / (heads * size)
  for (let token = 0; token < tokens; token++) {
    for (let head = 0; head < heads; head++) {
      const at = (token * heads + head) * size + start
      for (let pair = 0; pair < pairs; pair++) {
        const i = at + pair * step
        const cosine = cosines[token * pairs + pair]!
        const sine = sines[token * pairs + pair]!
        const a = x[i]!
        const b = x[i + across]!
        x[i] = a * cosine - b * sine
        x[i + across] = b * cosine + a * sine
      }
    }
  }
}
