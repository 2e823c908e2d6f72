/**
 * The memory that moving bytes may use: one fixed, page-aligned piece, handed out in ranges, first come first served. Page
 * alignment is what direct I/O asks for, and only WebAssembly memory has it in Node.
 */
import { type Memory, memoryOf, TABLES } from "../../tensor/kernels/Memory.ts"
import { allocate, WASM_PAGE, type WasmMemory } from "../../tensor/kernels/simd/Simd.ts"

/** Direct I/O works in multiples of this many bytes. */
export const PAGE = 4096

export const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to
export const roundDown = (n: number, to: number): number => Math.floor(n / to) * to

export interface AddressRange {
  readonly start: number
  readonly end: number
}

/** Workers out ranges of addresses, whole pages each. */
export class Ranges {
  readonly start: number
  readonly end: number
  /** Ranges in use, ascending. */
  readonly #taken: Array<AddressRange> = []
  readonly #waiting: Array<{ readonly size: number; readonly grant: (range: AddressRange) => void }> = []

  constructor(start: number, end: number) {
    this.start = start
    this.end = end
  }

  /** `size` bytes from a page's start on, as soon as they are free and everybody who asked before has theirs. */
  take(size: number): Promise<AddressRange> {
    const rounded = roundUp(size, PAGE)
    if (rounded > this.end - this.start) throw new RangeError(`${rounded} bytes asked of ${this.end - this.start}`)
    return new Promise((grant) => {
      this.#waiting.push({ size: rounded, grant })
      this.#serve()
    })
  }

  release(range: AddressRange): void {
    this.#taken.splice(this.#taken.indexOf(range), 1)
    this.#serve()
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      let start = this.start
      let i = 0
      for (; i < this.#taken.length && this.#taken[i]!.start - start < next.size; i++) start = this.#taken[i]!.end
      if (this.end - start < next.size) return
      const range = { start, end: start + next.size }
      this.#taken.splice(i, 0, range)
      this.#waiting.shift()
      next.grant(range)
    }
  }
}

/**
 * The memory of the last run that ended, for the next one of the same size in this process. Memory outside the heap counts as
 * garbage to come: every new piece of this size makes the garbage collector go over the whole heap, half the time of a small
 * conversion (measured: 22 toy conversions, 9 of 19 s). The collector may take it back at any time.
 */
let last: WeakRef<WasmMemory> | undefined

const memoryFor = (size: number, shared: boolean): WasmMemory => {
  const wasm = last?.deref()
  last = undefined
  return wasm !== undefined && wasm.buffer.byteLength === roundUp(size, WASM_PAGE) && wasm.buffer instanceof SharedArrayBuffer === shared
    ? wasm
    : allocate(size, shared)
}

export class Arena extends Ranges {
  readonly memory: Memory

  /** With `beside`, threads can share the memory: that many bytes from {@link Arena.beside} on are not handed out. */
  constructor(size: number, beside = 0) {
    const end = roundUp(size, PAGE)
    super(0, end)
    this.memory = memoryOf(memoryFor(end + TABLES + beside, beside > 0), end)
    // What kernels remember is of one run.
    this.memory.u8.fill(0, end, end + TABLES)
  }

  /** Nobody uses the memory any more, threads included. */
  close(): void {
    last = new WeakRef(this.memory.wasm)
  }

  get beside(): number {
    return this.end + TABLES
  }
}
