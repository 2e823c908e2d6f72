/**
 * The header of a safetensors file: `u64 N (little endian) | N bytes of JSON | data`. Sans-IO.
 *
 * The rules are those of safetensors 0.8, without the holes its serde parser leaves: equal keys are refused even where the
 * values agree, an entry must be an object, `__metadata__` may not be null, and no integer may pass 2^53 - 1.
 */
import { JsonScanner } from "../document/JsonScanner.ts"
import { skipValue } from "../document/StrictJson.ts"
import { FormatError } from "../FormatError.ts"
import { quote } from "../quote.ts"
import { type DType, dtypes } from "../tensor/DType.ts"
import { tensorBytes, type TensorInfo } from "./Tensor.ts"

/** The length field before the JSON. */
export const LENGTH_BYTES = 8
/** `MAX_HEADER_SIZE` of safetensors 0.8: every reader refuses more. Exactly this many is legal. */
export const LARGEST_HEADER = 100_000_000
/** Of one file or checkpoint. Twice as many as the largest model known has; a header has room for two million, which would take gigabytes here. */
export const MOST_TENSORS = 400_000
/** In UTF-16 units. Names of models have some hundred; patterns that look at names may take the square of their length. */
const LONGEST_NAME = 65_536
/** Nesting that serde_json allows inside fields we do not know. */
const DEEPEST_UNKNOWN_FIELD = 126

export const METADATA_KEY = "__metadata__"

/** A header that was checked: every byte of the file belongs to it or to one tensor. */
export interface Header {
  /** Length field and JSON exactly as in the file, `dataStart` bytes. */
  readonly headerBytes: Uint8Array
  /** Where the data begins, in bytes from the start of the file. */
  readonly dataStart: number
  /** Bytes of the whole file. */
  readonly fileSize: number
  /** `undefined` if the header has no `__metadata__`; that differs from an empty one. */
  readonly metadata: ReadonlyMap<string, string> | undefined
  /** In the order of their data, which need not be that of the JSON. They cover `dataStart..fileSize` without gap or overlap. */
  readonly tensors: ReadonlyArray<TensorInfo>
}

const OBJECT = 0x7b
const OBJECT_END = 0x7d
const ARRAY = 0x5b
const ARRAY_END = 0x5d
const COMMA = 0x2c
const COLON = 0x3a
const QUOTE = 0x22
const MINUS = 0x2d

/** One string per dtype instead of one per tensor. */
const DTYPES: ReadonlyMap<string, DType> = new Map(dtypes.map((dtype) => [dtype, dtype]))

const wrong = (code: string, problem: string, offset: number, tensor?: string): never => {
  throw new FormatError(`safetensors/${code}`, problem, { tensor, offset })
}

/**
 * N, the number of JSON bytes after the length field, from the first 8 bytes of a file of `fileSize` bytes.
 * Safe to allocate: it fits the file and the format's limit.
 *
 * @throws FormatError `safetensors/file-too-short`, `header-empty`, `header-too-large` or `header-truncated`.
 */
export const readHeaderLength = (prefix: Uint8Array, fileSize: number): number => {
  if (fileSize < LENGTH_BYTES) {
    return wrong("file-too-short", `a file of ${fileSize} bytes cannot hold the 8 bytes of the header length`, 0)
  }
  const length = new DataView(prefix.buffer, prefix.byteOffset, prefix.byteLength).getBigUint64(0, true)
  if (length === 0n) return wrong("header-empty", "the header has no bytes", 0)
  if (length > BigInt(LARGEST_HEADER)) {
    return wrong("header-too-large", `the header claims ${length} bytes, the format allows ${LARGEST_HEADER}`, 0)
  }
  const n = Number(length)
  if (LENGTH_BYTES + n > fileSize) {
    return wrong("header-truncated", `the header claims ${n} bytes, the file has ${fileSize - LENGTH_BYTES} after the length`, 0)
  }
  return n
}

/**
 * Parse and validate a header.
 *
 * `prefix` is the beginning of the file and holds at least the length field and the JSON; the data need not be there.
 * `fileSize` (bytes, from the file system, never from the file) defaults to the length of `prefix`.
 *
 * @throws FormatError `safetensors/…` with tensor and byte offset; `safetensors/header-…` where the JSON itself is at fault.
 */
export const parseHeader = (prefix: Uint8Array, fileSize: number = prefix.byteLength): Header => {
  const dataStart = LENGTH_BYTES + readHeaderLength(prefix, fileSize)
  if (prefix.byteLength < dataStart) throw new RangeError(`${dataStart} bytes are needed, ${prefix.byteLength} were given`)
  const headerBytes = prefix.byteLength === dataStart ? prefix : new Uint8Array(prefix.subarray(0, dataStart))
  const { metadata, tensors } = new HeaderReader(headerBytes, fileSize).read()
  checkCoverage(tensors, dataStart, fileSize)
  return { headerBytes, dataStart, fileSize, metadata, tensors }
}

class HeaderReader {
  readonly #scanner: JsonScanner
  readonly #dataStart: number
  readonly #dataSize: number

  constructor(headerBytes: Uint8Array, fileSize: number) {
    this.#scanner = new JsonScanner(headerBytes.subarray(LENGTH_BYTES), { codes: "safetensors/header-", base: LENGTH_BYTES })
    this.#dataStart = headerBytes.byteLength
    this.#dataSize = fileSize - headerBytes.byteLength
  }

  read(): { metadata: ReadonlyMap<string, string> | undefined; tensors: Array<TensorInfo> } {
    const scanner = this.#scanner
    if (scanner.peek() !== OBJECT) wrong("header-not-object", "the header is not a JSON object", this.#here())
    const names = new Set<string>()
    const tensors: Array<TensorInfo> = []
    let metadata: Map<string, string> | undefined
    this.#members((at) => {
      const name = scanner.string()
      if (names.has(name)) scanner.fail("duplicate-key", "the same name stands twice in the header", at, { tensor: name })
      names.add(name)
      if (name.length > LONGEST_NAME) wrong("name-too-long", `a name of ${name.length} characters; at most ${LONGEST_NAME} are read`, LENGTH_BYTES + at, name)
      if (names.size > MOST_TENSORS + 1) wrong("too-many-tensors", `more than ${MOST_TENSORS} tensors`, LENGTH_BYTES + at)
      scanner.expect(COLON)
      if (name === METADATA_KEY) metadata = this.#metadata()
      else tensors.push(inTensor(name, () => this.#entry(name)))
    })
    scanner.finish()
    return { metadata, tensors }
  }

  /** Position of the next token in the file. */
  #here(): number {
    this.#scanner.peek()
    return LENGTH_BYTES + this.#scanner.position
  }

  /** Walk an object; `member` reads key, colon and value. */
  #members(member: (at: number) => void): void {
    const scanner = this.#scanner
    scanner.expect(OBJECT)
    if (scanner.take(OBJECT_END)) return
    for (;;) {
      scanner.peek()
      member(scanner.position)
      if (scanner.take(OBJECT_END)) return
      if (!scanner.take(COMMA)) scanner.unexpected("',' or '}'")
    }
  }

  #metadata(): Map<string, string> {
    const scanner = this.#scanner
    const metadata = new Map<string, string>()
    if (scanner.peek() !== OBJECT) wrong("metadata", `${METADATA_KEY} is not an object`, this.#here())
    this.#members((at) => {
      const key = scanner.string()
      if (metadata.has(key)) scanner.fail("duplicate-key", `the same key stands twice in ${METADATA_KEY}`, at, { field: key })
      scanner.expect(COLON)
      if (scanner.peek() !== QUOTE) wrong("metadata", `${METADATA_KEY} value of ${quote(key)} is not a string`, this.#here())
      metadata.set(key, scanner.string())
    })
    return metadata
  }

  #entry(name: string): TensorInfo {
    const scanner = this.#scanner
    const start = this.#here()
    if (scanner.peek() !== OBJECT) wrong("entry-not-object", "the entry is not an object", start, name)
    let dtype: DType | undefined
    let shape: ReadonlyArray<number> | undefined
    let offsets: ReadonlyArray<number> | undefined
    let unknown: Set<string> | undefined
    this.#members((at) => {
      const key = this.#fieldName()
      const seen = key === "dtype" ? dtype : key === "shape" ? shape : key === "data_offsets" ? offsets : unknown?.has(key)
      if (seen) scanner.fail("duplicate-key", `the field ${quote(key)} stands twice`, at, { tensor: name, field: key })
      scanner.expect(COLON)
      if (key === "dtype") dtype = this.#dtype(name)
      else if (key === "shape") shape = this.#integers("shape", name)
      else if (key === "data_offsets") offsets = this.#integers("data_offsets", name)
      else {
        (unknown ??= new Set()).add(key)
        skipValue(scanner, { maxDepth: DEEPEST_UNKNOWN_FIELD })
      }
    })
    if (dtype === undefined) return wrong("missing-field", "the entry has no dtype", start, name)
    if (shape === undefined) return wrong("missing-field", "the entry has no shape", start, name)
    if (offsets === undefined) return wrong("missing-field", "the entry has no data_offsets", start, name)
    if (offsets.length !== 2) return wrong("offset-count", `data_offsets has ${offsets.length} numbers, not 2`, start, name)
    const [begin, end] = offsets as readonly [number, number]
    if (begin > end) wrong("offsets-reversed", `data_offsets ends at ${end}, before it begins at ${begin}`, start, name)
    const bytes = tensorBytes({ name, dtype, shape }, start)
    if (end - begin !== bytes) {
      const what = quote(`${dtype} [${shape.slice(0, 16)}${shape.length > 16 ? ",…" : ""}]`)
      wrong("size-mismatch", `${what} needs ${bytes} bytes, data_offsets has ${end - begin}`, start, name)
    }
    if (end > this.#dataSize) {
      wrong("data-truncated", `its data should end at byte ${end} after the header, but the file has only ${this.#dataSize} there: it is cut short`, start, name)
    }
    // A slice has no room for more: headers of large models hold a hundred thousand shapes.
    return { name, dtype, shape: shape.slice(), begin: this.#dataStart + begin, end: this.#dataStart + end }
  }

  /** Nearly always one of three: compare bytes before making strings. */
  #fieldName(): string {
    const scanner = this.#scanner
    if (scanner.takeWord('"dtype"')) return "dtype"
    if (scanner.takeWord('"shape"')) return "shape"
    if (scanner.takeWord('"data_offsets"')) return "data_offsets"
    return scanner.string()
  }

  #dtype(tensor: string): DType {
    const at = this.#here()
    if (this.#scanner.peek() !== QUOTE) wrong("dtype", "the dtype is not a string", at, tensor)
    const text = this.#scanner.string()
    return DTYPES.get(text) ?? wrong("dtype", `unknown dtype "${quote(text)}"`, at, tensor)
  }

  #integers(field: string, tensor: string): ReadonlyArray<number> {
    const scanner = this.#scanner
    if (scanner.peek() !== ARRAY) wrong("not-an-array", `${field} is not an array`, this.#here(), tensor)
    scanner.expect(ARRAY)
    const values: Array<number> = []
    if (scanner.take(ARRAY_END)) return values
    for (;;) {
      values.push(scanner.unsigned() ?? this.#notUnsigned(field, tensor))
      if (scanner.take(ARRAY_END)) return values
      if (!scanner.take(COMMA)) scanner.unexpected("',' or ']'")
    }
  }

  #notUnsigned(field: string, tensor: string): never {
    const scanner = this.#scanner
    const byte = scanner.peek()
    const at = this.#here()
    if (byte === MINUS || (byte >= 0x30 && byte <= 0x39)) {
      const value = scanner.number()
      if (typeof value === "bigint" && value > 0n) wrong("integer-too-large", `${field} holds an integer above 2^53 - 1`, at, tensor)
    }
    return wrong("not-unsigned", `${field} holds something other than unsigned integers`, at, tensor)
  }
}

/** Errors of the JSON itself do not know whose entry they are in. */
const inTensor = <A>(tensor: string, read: () => A): A => {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof FormatError) || error.place.tensor !== undefined) throw error
    throw new FormatError(error.code, error.message, { ...error.place, tensor })
  }
}

const byPlace = (a: TensorInfo, b: TensorInfo): number => a.begin - b.begin || a.end - b.end

const inBytes = (n: number): string => `${n} ${n === 1 ? "byte" : "bytes"}`

/** Sort by place; the tensors must then follow one another from the end of the header to the end of the file. */
const checkCoverage = (tensors: Array<TensorInfo>, dataStart: number, fileSize: number): void => {
  if (tensors.some((tensor, i) => i > 0 && byPlace(tensors[i - 1]!, tensor) > 0)) tensors.sort(byPlace)
  let position = dataStart
  let before = "the header"
  for (const { begin, end, name } of tensors) {
    if (begin < position) wrong("overlap", `begins at byte ${begin}, inside ${before}`, begin, name)
    if (begin > position) wrong("hole", `${inBytes(begin - position)} after ${before} belong to no tensor`, position, name)
    position = end
    before = `tensor ${quote(name)}`
  }
  if (position < fileSize) wrong("trailing-data", `${inBytes(fileSize - position)} after ${before} belong to no tensor`, position)
}
