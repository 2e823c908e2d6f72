/** The tensors of an opened model as if none were quantised. */
import { atPath } from "../document/decode.ts"
import { FormatError } from "../errors.ts"
import { type LogicalTensors, logicalTensors } from "../quantized/LogicalTensors.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { fileOf, type HfConfig } from "./HfSource.ts"

/** The tensors of a model as if none were quantised. InvalidFile `quantized/…`, of config.json where that is at fault. */
export const logicalOf = (tensors: HfTensors, config: HfConfig): LogicalTensors => {
  try {
    return logicalTensors(tensors, config.json)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    const { field, tensor } = error.place
    if (field !== undefined) return atPath(config.path, () => { throw error }, config.bytes)
    const shard = tensor === undefined ? undefined : tensors.shards[tensors.tensors.get(tensor)?.shard ?? -1]
    return atPath(shard?.path ?? fileOf(tensors), () => { throw error }, shard?.headerBytes)
  }
}
