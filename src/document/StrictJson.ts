/**
 * JSON from strangers. `JSON.parse` keeps the last of two equal keys, rounds integers beyond 2^53 and lets lone surrogates
 * through; two readers may then see two documents. Here each of these is an error with a byte offset.
 */
import { FormatError } from "../FormatError.ts"
import { JsonScanner } from "./JsonScanner.ts"

/** No configuration or index is larger; the tree of a document takes a multiple of its bytes. */
const LARGEST_DOCUMENT = 64 * 2 ** 20
/** Deeper than any known configuration; the parser recurses once per level. */
const DEEPEST = 64
/** `[],[],…` costs three bytes a value and a hundred times that in memory. */
const MOST_VALUES = 2_000_000

/** `number` for floats and safe integers; `bigint` for integers that a double cannot hold exactly. */
export type JsonScalar = null | boolean | number | bigint | string
/** A float that is a whole number (`500000.0`): Python tells it from an integer when it writes it again. */
export class JsonFloat {
  readonly value: number
  constructor(value: number) {
    this.value = value
  }
}

/** Null-prototype records: every key is plain data. */
export type JsonValue = JsonScalar | ReadonlyArray<JsonValue> | JsonObject
export interface JsonObject {
  readonly [key: string]: JsonValue
}
/** The same document with maps, which keep every key and the order of the file. */
export type JsonTree = JsonScalar | JsonFloat | ReadonlyArray<JsonTree> | JsonMap
export interface JsonMap extends ReadonlyMap<string, JsonTree> {}

export interface JsonLimits {
  /** Default 64 MiB. */
  readonly maxBytes?: number | undefined
  /** Nesting of arrays and objects, default 64. */
  readonly maxDepth?: number | undefined
  /** Values of any kind, default two million. */
  readonly maxValues?: number | undefined
  /** Accept `NaN`, `Infinity` and `-Infinity`, which Python's `json` writes into `config.json`. Default false. */
  readonly allowNonFinite?: boolean | undefined
  /** Maps only: keep whole floats as {@link JsonFloat}. Default false. */
  readonly keepFloats?: boolean | undefined
  /** Prefix of the error codes, default `json/`. */
  readonly codes?: string | undefined
}

const OBJECT = 0x7b
const OBJECT_END = 0x7d
const ARRAY = 0x5b
const ARRAY_END = 0x5d
const COMMA = 0x2c
const COLON = 0x3a
const QUOTE = 0x22
const MINUS = 0x2d

/** First byte → the word it begins and what that means. */
const WORDS: ReadonlyMap<number, readonly [string, JsonScalar]> = new Map([
  [0x74, ["true", true]],
  [0x66, ["false", false]],
  [0x6e, ["null", null]],
  [0x4e, ["NaN", Number.NaN]],
  [0x49, ["Infinity", Number.POSITIVE_INFINITY]]
])

/** How objects are kept: `__proto__` can be a key of a map, but not of a record that is going to be copied around. */
interface Building<Built> {
  readonly empty: () => Built
  readonly has: (built: Built, key: string) => boolean
  readonly add: (built: Built, key: string, value: unknown) => void
  readonly reserved?: string
}

const records: Building<Record<string, unknown>> = {
  empty: () => Object.create(null) as Record<string, unknown>,
  has: (built, key) => key in built,
  add: (built, key, value) => {
    built[key] = value
  },
  reserved: "__proto__"
}

const maps: Building<Map<string, unknown>> = {
  empty: () => new Map(),
  has: (built, key) => built.has(key),
  add: (built, key, value) => {
    built.set(key, value)
  }
}

class Reader<Built> {
  readonly #scanner: JsonScanner
  readonly #building: Building<Built>
  readonly #maxDepth: number
  readonly #allowNonFinite: boolean
  readonly #keepFloats: boolean
  #valuesLeft: number

  constructor(scanner: JsonScanner, building: Building<Built>, limits: JsonLimits) {
    this.#scanner = scanner
    this.#building = building
    this.#maxDepth = limits.maxDepth ?? DEEPEST
    this.#valuesLeft = limits.maxValues ?? MOST_VALUES
    this.#allowNonFinite = limits.allowNonFinite ?? false
    this.#keepFloats = limits.keepFloats ?? false
  }

  value(depth: number): unknown {
    const scanner = this.#scanner
    const byte = scanner.peek()
    if (this.#valuesLeft-- <= 0) scanner.fail("too-many-values", "holds more values than any real document")
    if (byte === QUOTE) return scanner.string()
    if (byte === OBJECT || byte === ARRAY) {
      if (depth >= this.#maxDepth) scanner.fail("depth", `nested deeper than ${this.#maxDepth} levels`)
      return byte === OBJECT ? this.#object(depth + 1) : this.#array(depth + 1)
    }
    const at = scanner.position
    if (byte >= 0x30 && byte <= 0x39) return this.#number(at)
    if (byte === MINUS) return scanner.takeWord("-Infinity") ? this.#nonFinite(Number.NEGATIVE_INFINITY, at) : this.#number(at)
    const word = WORDS.get(byte)
    if (word === undefined || !scanner.takeWord(word[0])) return scanner.unexpected("a value")
    return typeof word[1] === "number" ? this.#nonFinite(word[1], at) : word[1]
  }

  #number(at: number): number | bigint | JsonFloat {
    const value = this.#scanner.number()
    const whole = this.#keepFloats && typeof value === "number" && Number.isSafeInteger(value) && /[.eE]/.test(this.#scanner.textFrom(at))
    return whole ? new JsonFloat(value) : value
  }

  #nonFinite(value: number, at: number): number {
    return this.#allowNonFinite ? value : this.#scanner.fail("non-finite", `${value} is not JSON`, at)
  }

  #array(depth: number): Array<unknown> {
    const scanner = this.#scanner
    scanner.expect(ARRAY)
    const items: Array<unknown> = []
    if (scanner.take(ARRAY_END)) return items
    for (;;) {
      items.push(this.value(depth))
      if (scanner.take(ARRAY_END)) return items
      if (!scanner.take(COMMA)) scanner.unexpected("',' or ']'")
    }
  }

  #object(depth: number): Built {
    const scanner = this.#scanner
    const building = this.#building
    scanner.expect(OBJECT)
    const built = building.empty()
    if (scanner.take(OBJECT_END)) return built
    for (;;) {
      scanner.peek()
      const at = scanner.position
      const key = scanner.string()
      if (key === building.reserved) scanner.fail("reserved-key", `the key ${key} is not allowed here`, at, { field: key })
      if (building.has(built, key)) scanner.fail("duplicate-key", "the same key stands twice in one object", at, { field: key })
      scanner.expect(COLON)
      building.add(built, key, this.value(depth))
      if (scanner.take(OBJECT_END)) return built
      if (!scanner.take(COMMA)) scanner.unexpected("',' or '}'")
    }
  }
}

const parse = <Built>(bytes: Uint8Array, building: Building<Built>, limits: JsonLimits): unknown => {
  const { codes = "json/", maxBytes = LARGEST_DOCUMENT } = limits
  if (bytes.byteLength > maxBytes) {
    throw new FormatError(`${codes}too-large`, `has ${bytes.byteLength} bytes, at most ${maxBytes} are read`, { offset: maxBytes })
  }
  const scanner = new JsonScanner(bytes, { codes })
  const value = new Reader(scanner, building, limits).value(0)
  scanner.finish()
  return value
}

/**
 * Parse a whole document into null-prototype records, the form that zod schemas read.
 *
 * **Gotchas**
 * - A key `__proto__` is refused (`json/reserved-key`): zod, and any copy into a plain object, would silently drop it.
 *   Documents whose keys are tensor names go through {@link parseJsonTree}.
 * - Integer-like keys are reordered by JavaScript; use {@link parseJsonTree} where order matters.
 * - `1.0` and `1` are the same number; integers beyond ±(2^53 - 1) are `bigint`, which `z.number()` refuses.
 *
 * @throws FormatError `json/` + `utf8`, `bom`, `syntax`, `trailing`, `duplicate-key`, `reserved-key`, `lone-surrogate`,
 * `control-character`, `non-finite`, `number-range`, `depth`, `too-many-values` or `too-large`, with the byte offset.
 */
export const parseJson = (bytes: Uint8Array, limits: JsonLimits = {}): JsonValue =>
  parse(bytes, records, limits) as JsonValue

/** {@link parseJson} into maps: any key is allowed and the order of the file is kept. */
export const parseJsonTree = (bytes: Uint8Array, limits: JsonLimits = {}): JsonTree => parse(bytes, maps, limits) as JsonTree

/** Read one value at the scanner's position and forget it: a field that a format allows but does not know. */
export const skipValue = (scanner: JsonScanner, limits: JsonLimits = {}): void => {
  new Reader(scanner, maps, limits).value(0)
}
