/** Names inside a Megatron checkpoint directory (torch-dist-format.md A.1). */
export const TRACKER = "latest_checkpointed_iteration.txt"
export const TRAIN_STATE_TRACKER = "latest_train_state.pt"
export const TRAIN_STATE = "train_state.pt"
export const METADATA = ".metadata"
export const BACKEND = "metadata.json"
export const RUN_CONFIG = "run_config.yaml"
export const COMMON_FILE = "common.pt"
export const COMMON_STATE = "common_state/shard_0_1"
export const TOKENIZER = "tokenizer"

/** `iter_` and at least seven digits. */
export const iterationFolder = (step: number): string => `iter_${String(step).padStart(7, "0")}`

export const iterationOf = (folder: string): number | undefined => {
  const match = /^iter_(\d{7,15})$/.exec(folder)
  return match ? Number(match[1]) : undefined
}

export { HF_SOURCE } from "../model/storedKey.ts"

/** Rank and number of a data file, from the name the reference gives it: `__{rank}_{number}.distcp`. */
export const rankOf = (file: string): { readonly rank: number; readonly number: number } | undefined => {
  const match = /^(?:.*)__(\d{1,9})_(\d{1,9})\.distcp$/.exec(file)
  return match ? { rank: Number(match[1]), number: Number(match[2]) } : undefined
}
