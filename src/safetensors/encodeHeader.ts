/** Write a header the way the safetensors library does, byte for byte. */
import { byCodePoint } from "../document/byCodePoint.ts"
import { encodeUtf8 } from "../document/utf8.ts"
import { FormatError } from "../FormatError.ts"
import { dtypes } from "../tensor/DType.ts"
import { type Header, LARGEST_HEADER, LENGTH_BYTES, METADATA_KEY } from "./Header.ts"
import { tensorBytes, type TensorInfo, type TensorSpec } from "./Tensor.ts"

/** The data begins at a multiple of this; the JSON is padded with spaces. */
const ALIGNMENT = 8

const RANK = new Map(dtypes.map((dtype, rank) => [dtype, rank]))

/**
 * The order of the safetensors library (0.8, Rust and Python): wide dtypes first (`U64` … `BOOL`), then by name in code
 * point order. Everything is then aligned to its element size.
 */
export const inLibraryOrder = <T extends TensorSpec>(tensors: Iterable<T>): Array<T> =>
  [...tensors].sort((a, b) => RANK.get(b.dtype)! - RANK.get(a.dtype)! || byCodePoint(a.name, b.name))

/** serde_json and `JSON.stringify` escape the same characters in well-formed strings. */
const string = (text: string, tensor?: string): string => {
  if (!text.isWellFormed()) {
    throw new FormatError("safetensors/name-not-unicode", "half of a surrogate pair has no UTF-8 form", { tensor })
  }
  return JSON.stringify(text)
}

/**
 * The header of a file that holds `tensors` one after another in the given order: compact JSON like
 * `{"__metadata__":{"format":"pt"},"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}`, padded to a multiple of 8.
 * In {@link inLibraryOrder} the bytes equal those of the library, except that it writes metadata keys in random order.
 *
 * @throws FormatError `safetensors/` + `name-taken` (twice the same, or `__metadata__`), `name-not-unicode`, `not-unsigned`,
 * `size-overflow`, `sub-byte` or `header-too-large`.
 */
export const encodeHeader = (tensors: Iterable<TensorSpec>, metadata?: ReadonlyMap<string, string>): Header => {
  const parts: Array<string> = []
  if (metadata) {
    const pairs = Array.from(metadata, ([key, value]) => `${string(key)}:${string(value)}`)
    parts.push(`"${METADATA_KEY}":{${pairs.join(",")}}`)
  }
  const names = new Set([METADATA_KEY])
  const placed: Array<TensorInfo> = []
  let position = 0
  for (const { dtype, name, shape } of tensors) {
    if (names.has(name)) throw new FormatError("safetensors/name-taken", "the name is taken", { tensor: name })
    names.add(name)
    if (!shape.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0)) {
      throw new FormatError("safetensors/not-unsigned", "the shape holds something other than unsigned integers", { tensor: name })
    }
    const begin = position
    position += tensorBytes({ name, dtype, shape })
    if (position > Number.MAX_SAFE_INTEGER) {
      throw new FormatError("safetensors/size-overflow", "the file would pass 2^53 bytes", { tensor: name })
    }
    parts.push(`${string(name, name)}:{"dtype":"${dtype}","shape":[${shape.join(",")}],"data_offsets":[${begin},${position}]}`)
    placed.push({ name, dtype, shape, begin, end: position })
  }
  const json = encodeUtf8(`{${parts.join(",")}}`)
  const length = Math.ceil(json.byteLength / ALIGNMENT) * ALIGNMENT
  if (length > LARGEST_HEADER) {
    throw new FormatError("safetensors/header-too-large", `the header needs ${length} bytes, the format allows ${LARGEST_HEADER}`)
  }
  const dataStart = LENGTH_BYTES + length
  const headerBytes = new Uint8Array(dataStart).fill(0x20)
  new DataView(headerBytes.buffer).setBigUint64(0, BigInt(length), true)
  headerBytes.set(json, LENGTH_BYTES)
  return {
    headerBytes,
    dataStart,
    fileSize: dataStart + position,
    metadata,
    tensors: placed.map((tensor) => ({ ...tensor, begin: dataStart + tensor.begin, end: dataStart + tensor.end }))
  }
}
