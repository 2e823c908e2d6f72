/**
 * The memory that moving bytes may use: one fixed, page-aligned piece, handed out in ranges, first come first served. Page
 * alignment is what direct I/O asks for, and only WebAssembly memory has it in Node.
 */
import { type Memory, memoryOf } from "../tensor/kernels/Memory.ts"

/** Direct I/O works in multiples of this many bytes. */
export const PAGE = 4096

const WASM_PAGE = 65536

/** The part of it that is used here: TypeScript declares it for browsers only. */
declare const WebAssembly: {
  readonly Memory: new (pages: { readonly initial: number; readonly maximum: number }) => { readonly buffer: ArrayBuffer }
}

export const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to
export const roundDown = (n: number, to: number): number => Math.floor(n / to) * to

export interface Range {
  readonly start: number
  readonly end: number
}

export class Arena {
  readonly memory: Memory
  readonly size: number
  /** Ranges in use, ascending. */
  readonly #taken: Array<Range> = []
  readonly #waiting: Array<{ readonly size: number; readonly grant: (range: Range) => void }> = []

  constructor(size: number) {
    const pages = Math.ceil(size / WASM_PAGE)
    this.size = pages * WASM_PAGE
    this.memory = memoryOf(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer)
  }

  /** A page-aligned range of `size` bytes, as soon as one is free and everybody who asked before has theirs. */
  take(size: number): Promise<Range> {
    const rounded = roundUp(size, PAGE)
    if (rounded > this.size) throw new RangeError(`${rounded} bytes do not fit into an arena of ${this.size}`)
    return new Promise((grant) => {
      this.#waiting.push({ size: rounded, grant })
      this.#serve()
    })
  }

  release(range: Range): void {
    this.#taken.splice(this.#taken.indexOf(range), 1)
    this.#serve()
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      let start = 0
      let i = 0
      for (; i < this.#taken.length && this.#taken[i]!.start - start < next.size; i++) start = this.#taken[i]!.end
      if (this.size - start < next.size) return
      const range = { start, end: start + next.size }
      this.#taken.splice(i, 0, range)
      this.#waiting.shift()
      next.grant(range)
    }
  }
}
