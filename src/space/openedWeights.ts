/** The weights of an opened model as if none were quantised. */
import { atPath } from "../document/decode.ts"
import { FormatError } from "../errors.ts"
import type { HfConfig } from "./HfSource.ts"
import { type HfWeights, hfWeightsOf } from "./HfWeights.ts"
import { fileOf, fileWith, type StoredWeights } from "./StoredWeights.ts"

/** InvalidFile `quantized/…`, of config.json where that is at fault. */
export const openedWeights = (weights: StoredWeights, config: HfConfig): HfWeights => {
  try {
    return hfWeightsOf(weights, config.json)
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    const { field, tensor } = error.place
    if (field !== undefined) return atPath(config.path, () => { throw error }, config.bytes)
    const file = tensor === undefined ? undefined : fileWith(weights, tensor)
    return atPath(file?.path ?? fileOf(weights), () => { throw error }, file?.headerBytes)
  }
}
