/** The weights of an opened model as if none were quantised. */
import { atPath } from "../document/decode.ts"
import { FormatError } from "../errors.ts"
import { type HfWeights, hfWeightsOf } from "./HfWeights.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { fileOf, type HfConfig } from "./HfSource.ts"

/** InvalidFile `quantized/…`, of config.json where that is at fault. */
export const openedWeights = (tensors: HfTensors, config: HfConfig): HfWeights => {
  try {
    return hfWeightsOf(tensors, config.json)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    const { field, tensor } = error.place
    if (field !== undefined) return atPath(config.path, () => { throw error }, config.bytes)
    const shard = tensor === undefined ? undefined : tensors.shards[tensors.tensors.get(tensor)?.shard ?? -1]
    return atPath(shard?.path ?? fileOf(tensors), () => { throw error }, shard?.headerBytes)
  }
}
