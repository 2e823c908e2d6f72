/**
 * Writes protocol 2 pickles opcode by opcode: the only protocol that torch's `weights_only` unpickler reads. The caller
 * decides the order of opcodes and what is memoised; the same calls always give the same bytes.
 */
import { FormatError } from "../errors.ts"

const FIRST_BLOCK = 1024
/** CPython writes lists and dicts in batches of this many elements. */
export const BATCH = 1000

export class PickleWriter {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BLOCK)
  #length = 0
  #memoised = 0
  readonly #memo = new Map<unknown, number>()
  readonly #texts = new Map<string, number>()

  constructor() {
    this.#put(0x80, 2)
  }

  /** Ends the pickle and returns it. */
  stop(): Uint8Array {
    this.#put(0x2e)
    return Uint8Array.from(this.#bytes.subarray(0, this.#length))
  }

  none(): this { return this.#put(0x4e) }
  boolean(value: boolean): this { return this.#put(value ? 0x88 : 0x89) }
  mark(): this { return this.#put(0x28) }
  emptyTuple(): this { return this.#put(0x29) }
  /** Ends a tuple that {@link mark} began. */
  tuple(): this { return this.#put(0x74) }
  /** A tuple of the 1, 2 or 3 values on top of the stack. */
  tupleOf(count: 1 | 2 | 3): this { return this.#put(0x84 + count) }
  emptyList(): this { return this.#put(0x5d) }
  append(): this { return this.#put(0x61) }
  appends(): this { return this.#put(0x65) }
  emptyDict(): this { return this.#put(0x7d) }
  setItem(): this { return this.#put(0x73) }
  setItems(): this { return this.#put(0x75) }
  newObject(): this { return this.#put(0x81) }
  reduce(): this { return this.#put(0x52) }
  build(): this { return this.#put(0x62) }
  persistentId(): this { return this.#put(0x51) }

  /** In the shortest form, as CPython writes it. */
  int(value: number | bigint): this {
    if (typeof value === "number" && !Number.isSafeInteger(value)) {
      throw new FormatError("pickle/integer", `${value} is not an exact integer`)
    }
    if (typeof value === "bigint" || value < -0x80000000 || value > 0x7fffffff) return this.#long(BigInt(value))
    if (value < 0 || value > 0xffff) {
      const at = this.#room(5)
      this.#bytes[at] = 0x4a
      this.#bytes.writeInt32LE(value, at + 1)
      return this
    }
    return value <= 0xff ? this.#put(0x4b, value) : this.#put(0x4d, value & 0xff, value >> 8)
  }

  float(value: number): this {
    const at = this.#room(9)
    this.#bytes[at] = 0x47
    this.#bytes.writeDoubleBE(value, at + 1)
    return this
  }

  text(value: string): this {
    if (!value.isWellFormed()) throw new FormatError("pickle/text", "a string with half a surrogate pair has no UTF-8 form")
    const length = Buffer.byteLength(value)
    const at = this.#room(5 + length)
    this.#bytes[at] = 0x58
    this.#bytes.writeUInt32LE(length, at + 1)
    this.#bytes.write(value, at + 5, "utf8")
    return this
  }

  /** A class or function, `module name`. */
  global(id: string): this {
    const line = `c${id.replace(" ", "\n")}\n`
    const at = this.#room(line.length)
    this.#bytes.write(line, at, "latin1")
    return this
  }

  /** Remembers the value on top of the stack under the next free index (and under `key`, for {@link shared}). */
  memoise(key?: unknown): this {
    const index = this.#next()
    if (key !== undefined) this.#memo.set(key, index)
    return this
  }

  /** Pushes the value remembered under `key`, if there is one. Keys compare as Map keys. */
  recall(key: unknown): boolean {
    const index = this.#memo.get(key)
    if (index !== undefined) this.#get(index)
    return index !== undefined
  }

  /** The value remembered under `key`; the first time, `write` writes it. */
  shared(key: unknown, write: () => void): this {
    if (this.recall(key)) return this
    write()
    return this.memoise(key)
  }

  sharedGlobal(id: string): this { return this.shared(`global ${id}`, () => this.global(id)) }

  /** Strings are remembered apart from the keys of {@link shared}: any string may come from a file. */
  sharedText(value: string): this {
    const index = this.#texts.get(value)
    if (index !== undefined) return this.#get(index)
    this.text(value)
    this.#texts.set(value, this.#next())
    return this
  }

  #next(): number {
    const index = this.#memoised++
    if (index < 256) this.#put(0x71, index)
    else this.#put(0x72, index & 255, (index >> 8) & 255, (index >> 16) & 255, index >>> 24)
    return index
  }

  #get(index: number): this {
    return index < 256
      ? this.#put(0x68, index)
      : this.#put(0x6a, index & 255, (index >> 8) & 255, (index >> 16) & 255, index >>> 24)
  }

  #long(value: bigint): this {
    const bytes: Array<number> = []
    for (let rest = value; ; rest >>= 8n) {
      bytes.push(Number(rest & 0xffn))
      const sign = bytes.at(-1)! & 0x80
      if ((rest >> 8n === 0n && sign === 0) || (rest >> 8n === -1n && sign !== 0)) break
    }
    return this.#put(0x8a, bytes.length, ...bytes)
  }

  #put(...bytes: Array<number>): this {
    const at = this.#room(bytes.length)
    for (let i = 0; i < bytes.length; i++) this.#bytes[at + i] = bytes[i]!
    return this
  }

  /** Reserves `count` bytes and returns where. */
  #room(count: number): number {
    const at = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.#length, this.#bytes.length * 2))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
    }
    return at
  }
}
