/** What is kept of the logits, which arrive for all positions and some of the vocabulary at a time. */
import { largest } from "./route.ts"

export interface Token {
  readonly id: number
  readonly logit: number
  /** Natural logarithm of its probability. */
  readonly logProbability: number
}

/** Logits of one position so far. */
interface PositionLogits {
  /** The greatest. */
  most: number
  /** Σ exp(logit − most). */
  sum: number
  best: Array<{ readonly id: number; readonly logit: number }>
  target: number | undefined
}

export class Scores {
  readonly #positions: ReadonlyArray<PositionLogits>
  readonly #targets: ReadonlyArray<number | undefined>
  readonly #count: number

  /** `targets`: of each position the token that follows; `count`: how many of the likeliest tokens are kept. */
  constructor(targets: ReadonlyArray<number | undefined>, count: number) {
    this.#targets = targets
    this.#count = count
    this.#positions = targets.map(() => ({ most: -Infinity, sum: 0, best: [], target: undefined }))
  }

  /** Logits [positions, width] of the tokens from `first` on. */
  add(logits: Float32Array, width: number, first: number): void {
    for (const [i, position] of this.#positions.entries()) {
      const own = logits.subarray(i * width, (i + 1) * width)
      const best = largest(own, 1)[0]
      const most = best === undefined ? position.most : Math.max(position.most, own[best]!)
      let sum = position.sum === 0 ? 0 : position.sum * Math.exp(position.most - most)
      for (let at = 0; at < own.length; at++) sum += Math.exp(own[at]! - most)
      position.most = most
      position.sum = sum
      const candidates = [...position.best, ...largest(own, this.#count).map((at) => ({ id: first + at, logit: own[at]! }))]
      position.best = largest(candidates.map(({ logit }) => logit), this.#count).map((at) => candidates[at]!)
      const target = this.#targets[i]
      if (target !== undefined && target >= first && target < first + width) position.target = own[target - first]!
    }
  }

  #logOf(logit: number, { most, sum }: PositionLogits): number {
    return logit - most - Math.log(sum)
  }

  /** The likeliest tokens behind a position, likeliest first. */
  best(position: number): ReadonlyArray<Token> {
    const own = this.#positions[position]!
    return own.best.map(({ id, logit }) => ({ id, logit, logProbability: this.#logOf(logit, own) }))
  }

  /** Log-probability of the token that follows each position; undefined behind the last. */
  get following(): ReadonlyArray<number | undefined> {
    return this.#positions.map((own) => (own.target === undefined ? undefined : this.#logOf(own.target, own)))
  }
}
