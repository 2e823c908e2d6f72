/** Names in a folder of versions. */

export const STATE_FOLDER = ".weight_sync"
export const STATE_FILE = "state.json"

/** Versions are numbered from 1; 0 is the model that an engine was started with. */
export const versionText = (version: number): string => String(version).padStart(6, "0")

export const versionFolder = (version: number): string => `weight_v${versionText(version)}`

export const versionOf = (folder: string): number | undefined => {
  const match = /^weight_v(\d{6,15})$/.exec(folder)
  return match ? Number(match[1]) : undefined
}

/** A shard of a delta. */
export const shardName = (number: number, of: number): string => `model-${String(number).padStart(5, "0")}-of-${String(of).padStart(5, "0")}.safetensors`
