/** A value that is computed when it is first asked for: what it depends on may not have been read before. */
export class Later<T> {
  #make: (() => T) | undefined
  #value: T | undefined

  constructor(make: () => T) {
    this.#make = make
  }

  get(): T {
    const make = this.#make
    if (make === undefined) return this.#value as T
    this.#value = make()
    // What it was computed from may go.
    this.#make = undefined
    return this.#value
  }
}

/** A value that is given later. Asked for too early it throws. */
export class Promised<T> extends Later<T> {
  #given: { readonly value: T } | undefined

  constructor() {
    super(() => {
      if (this.#given === undefined) throw new RangeError("a value was asked for before it was there")
      return this.#given.value
    })
  }

  give(value: T): void {
    this.#given = { value }
  }
}
