/**
 * The safetensors format: `import { readHeader } from "megatron-mimo-bridge/safetensors"`. Bytes in, values out, and plain promises
 * for what is read by ranges; web standards only, so that browsers, Deno and workers can use it.
 *
 * `megatron-mimo-bridge/safetensors/node` opens files and directories, with promises; `…/safetensors/effect` the same as Effects.
 */
export { FormatError, type Place } from "../FormatError.ts"
export { bitsOf, bytesOf, type DType, dtypes, isDType } from "../tensor/DType.ts"
export { type ByteSource, fromBlob, fromBytes, fromUrl, type ReadOptions, type UrlOptions } from "./ByteSource.ts"
export { encodeHeader, inLibraryOrder } from "./encodeHeader.ts"
export { type Header, LARGEST_HEADER, LENGTH_BYTES, parseHeader, readHeaderLength } from "./Header.ts"
export { readHeader, readTensorBytes } from "./ranges.ts"
export {
  checkIndex,
  encodeIndex,
  type IndexStyle,
  type ListedShard,
  parseIndex,
  type SafetensorsIndex,
  shardsOf,
  totalSize
} from "./ShardIndex.ts"
export { tensorBytes, type TensorInfo, type TensorSpec } from "./Tensor.ts"
