/** Python values, and pickles of them in protocols 2 to 5 as CPython writes them, or with anything put in between. */

export type Py =
  | null
  | boolean
  | number
  | bigint
  | string
  | ReadonlyArray<Py>
  | { readonly float: number }
  /** `module name` */
  | { readonly global: string }
  | { readonly list: ReadonlyArray<Py> }
  | { readonly dict: ReadonlyArray<readonly [Py, Py]> }
  /** REDUCE */
  | { readonly call: Py; readonly args: ReadonlyArray<Py> }
  /** NEWOBJ, and BUILD if there is a state */
  | { readonly instance: string; readonly state?: Py }
  | { readonly persistent: Py }
  /** Opcodes as they are; they must leave one value. */
  | { readonly raw: Uint8Array }

/** Arrays are tuples. */
export const g = (name: string): Py => ({ global: name })
export const call = (name: string, ...args: ReadonlyArray<Py>): Py => ({ call: g(name), args })
export const list = (...items: ReadonlyArray<Py>): Py => ({ list: items })
export const dict = (...entries: ReadonlyArray<readonly [Py, Py]>): Py => ({ dict: entries })
export const attributes = (state: Readonly<Record<string, Py>>): Py => ({ dict: Object.entries(state) })
export const instance = (name: string, state?: Readonly<Record<string, Py>>): Py => (state ? { instance: name, state: attributes(state) } : { instance: name })
export const raw = (...bytes: ReadonlyArray<number | string>): Py =>
  ({ raw: Buffer.concat(bytes.map((b) => (typeof b === "number" ? Buffer.of(b) : Buffer.from(b, "latin1")))) })

export interface PickleStyle {
  readonly protocol?: 2 | 3 | 4 | 5
  /** Put every value that CPython would into the memo. */
  readonly memo?: boolean
}

class Writer {
  readonly parts: Array<Buffer> = []
  readonly #protocol: number
  readonly #memo: boolean
  #memoised = 0

  constructor({ memo = true, protocol = 4 }: PickleStyle) {
    this.#protocol = protocol
    this.#memo = memo
  }

  put(...bytes: ReadonlyArray<number | string | Uint8Array>): this {
    for (const b of bytes) this.parts.push(typeof b === "number" ? Buffer.of(b) : typeof b === "string" ? Buffer.from(b, "utf8") : Buffer.from(b))
    return this
  }

  #remember(): this {
    if (!this.#memo) return this
    const at = this.#memoised++
    if (this.#protocol >= 4) return this.put(0x94)
    if (at < 256) return this.put(0x71, at)
    const index = Buffer.alloc(4)
    index.writeUInt32LE(at)
    return this.put(0x72, index)
  }

  #text(text: string): this {
    const bytes = Buffer.from(text)
    const length = Buffer.alloc(4)
    length.writeUInt32LE(bytes.length)
    return (this.#protocol >= 4 && bytes.length < 256 ? this.put(0x8c, bytes.length, bytes) : this.put(0x58, length, bytes)).#remember()
  }

  #integer(value: number | bigint): this {
    const n = BigInt(value)
    if (n >= 0n && n < 256n) return this.put(0x4b, Number(n))
    if (n >= 0n && n < 65536n) return this.put(0x4d, Number(n) & 255, Number(n) >> 8)
    if (n >= -(2n ** 31n) && n < 2n ** 31n) {
      const bytes = Buffer.alloc(4)
      bytes.writeInt32LE(Number(n))
      return this.put(0x4a, bytes)
    }
    const bytes: Array<number> = []
    let rest = n
    do {
      bytes.push(Number(BigInt.asUintN(8, rest)))
      rest >>= 8n
    } while (!((rest === 0n && bytes.at(-1)! < 128) || (rest === -1n && bytes.at(-1)! >= 128)))
    return this.put(0x8a, bytes.length, Buffer.from(bytes))
  }

  #global(id: string): this {
    const [module, name] = id.split(" ") as [string, string]
    return this.#protocol >= 4 ? this.#text(module).#text(name).put(0x93).#remember() : this.put(0x63, `${module}\n${name}\n`).#remember()
  }

  value(value: Py): this {
    if (value === null) return this.put(0x4e)
    if (typeof value === "boolean") return this.put(value ? 0x88 : 0x89)
    if (typeof value === "number" || typeof value === "bigint") return this.#integer(value)
    if (typeof value === "string") return this.#text(value)
    if (Array.isArray(value)) return this.#tuple(value as ReadonlyArray<Py>)
    const node = value as Exclude<Py, null | boolean | number | bigint | string | ReadonlyArray<Py>>
    if ("float" in node) {
      const bytes = Buffer.alloc(8)
      bytes.writeDoubleBE(node.float)
      return this.put(0x47, bytes)
    }
    if ("global" in node) return this.#global(node.global)
    if ("raw" in node) return this.put(node.raw)
    if ("persistent" in node) return this.value(node.persistent).put(0x51)
    if ("call" in node) return this.value(node.call).#tuple(node.args).put(0x52).#remember()
    if ("instance" in node) {
      this.#global(node.instance).put(0x29, 0x81).#remember()
      return node.state === undefined ? this : this.value(node.state).put(0x62)
    }
    if ("list" in node) return this.put(0x5d).#remember().#batches(node.list, (item) => this.value(item), 0x65)
    return this.put(0x7d).#remember().#batches(node.dict, ([key, item]) => this.value(key).value(item), 0x75)
  }

  #batches<A>(items: ReadonlyArray<A>, write: (item: A) => void, end: number): this {
    for (let from = 0; from < items.length; from += 1000) {
      this.put(0x28)
      items.slice(from, from + 1000).forEach(write)
      this.put(end)
    }
    return this
  }

  #tuple(items: ReadonlyArray<Py>): this {
    if (items.length === 0) return this.put(0x29)
    if (items.length > 3) this.put(0x28)
    for (const item of items) this.value(item)
    return this.put(items.length > 3 ? 0x74 : 0x84 + items.length).#remember()
  }
}

/** The whole pickle. */
export const pickle = (value: Py, style: PickleStyle = {}): Buffer => {
  const { protocol = 4 } = style
  const body = Buffer.concat(new Writer(style).value(value).put(0x2e).parts)
  if (protocol < 4) return Buffer.concat([Buffer.of(0x80, protocol), body])
  const frame = Buffer.alloc(8)
  frame.writeBigUInt64LE(BigInt(body.length))
  return Buffer.concat([Buffer.of(0x80, protocol, 0x95), frame, body])
}
