/**
 * The safetensors format on its own: `import { openSafetensors } from "megatron-mimo-bridge/safetensors"`.
 *
 * `parseHeader`, `encodeHeader`, `parseIndex`, `encodeIndex` work on bytes and know no files. `openSafetensors`,
 * `readTensor`, `createSafetensors` and their relatives are effects that need a `Disk`; `Disk.layer` is the real one.
 */
export { FormatError, InvalidFile, IoError, NoSpace } from "../errors.ts"
export { Disk } from "../io/Disk.ts"
export { type StoredState } from "../store/Store.ts"
export { bitsOf, bytesOf, type DType, dtypes, isDType } from "../tensor/DType.ts"
export { encodeHeader, inLibraryOrder } from "./encodeHeader.ts"
export { type Header, LARGEST_HEADER, LENGTH_BYTES, parseHeader, readHeaderLength } from "./Header.ts"
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
export { readSafetensors, readTensor, type TensorData } from "./Reader.ts"
export {
  type HfTensor,
  type HfTensors,
  openSafetensors,
  openShard,
  type SafetensorsError,
  type Shard
} from "./SafetensorsDirectory.ts"
export { tensorBytes, type TensorInfo, type TensorSpec } from "./Tensor.ts"
export { createSafetensors, type SafetensorsWriter, type TensorToWrite, writeSafetensors } from "./Writer.ts"
