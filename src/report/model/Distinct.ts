/** Index of each distinct value, in order of appearance. */
export class Distinct<T> {
  readonly items: Array<T> = []
  readonly #at = new Map<string, number>()

  add(value: T, key: string = String(value)): number {
    let at = this.#at.get(key)
    if (at === undefined) {
      this.#at.set(key, at = this.items.length)
      this.items.push(value)
    }
    return at
  }
}
