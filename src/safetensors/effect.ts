/**
 * Safetensors files and directories as Effects: `import { openSafetensors } from "megatron-mimo-bridge/safetensors/effect"`. They need
 * a `Disk`; `Disk.layer` is the real one.
 */
export { InvalidFile, IoError, NoSpace } from "../errors.ts"
export { Disk } from "../io/Disk.ts"
export { type StoredState } from "../store/Store.ts"
export * from "./index.ts"
export { readSafetensors, readTensor, type SafetensorsContent, type TensorData } from "./Reader.ts"
export { type HfTensor, type HfTensors, openSafetensors, openShard, type SafetensorsError, type Shard } from "./SafetensorsDirectory.ts"
export { createSafetensors, type SafetensorsWriter, type TensorToWrite, writeSafetensors } from "./Writer.ts"
