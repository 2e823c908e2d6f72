/** A small deterministic generator (xorshift32) and what fuzzers ask of it. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) | 0 || 1
  }

  next(): number {
    this.#state ^= this.#state << 13
    this.#state ^= this.#state >>> 17
    this.#state ^= this.#state << 5
    return this.#state >>> 0
  }

  /** 0 … n-1 */
  below(n: number): number {
    return n <= 1 ? 0 : this.next() % n
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0
  }

  pick<A>(from: ReadonlyArray<A>): A {
    return from[this.below(from.length)]!
  }

  /** Small numbers mostly. */
  few(most: number): number {
    return this.below(1 + this.below(most))
  }
}
