/** The files that a conversion reads, as they were when it was planned. */
import { join } from "node:path"
import type { Checkpoint } from "../space/Checkpoint.ts"
import { METADATA } from "../checkpoint/names.ts"
import { eachOf } from "../store/eachOf.ts"
import type { Store } from "../store/Store.ts"
import { isRemote } from "../remote/place.ts"
import { storedState } from "../store/Store.ts"
import { type Ingredient, sourceFile } from "../publish/journal/Fingerprint.ts"
import type { SourceState } from "../publish/sources.ts"
import type { StoredWeights } from "../space/StoredWeights.ts"

/** The files of an HF checkpoint, as they were when their headers were read. */
export const shardStates = (weights: StoredWeights | undefined): ReadonlyArray<SourceState> => weights?.files ?? []

/** The headers of safetensors files, by path. */
export const headerBytes = (...all: ReadonlyArray<StoredWeights | undefined>): ReadonlyMap<string, Uint8Array> =>
  new Map(all.flatMap((weights) => (weights?.safetensors ? weights.files.map(({ headerBytes, path }) => [path, headerBytes] as const) : [])))

export const shardIngredients = (weights: StoredWeights | undefined, of: string): ReadonlyArray<Ingredient> =>
  (weights?.files ?? []).map((s) => sourceFile(`${s.file} of ${of}`, s, s.headerBytes))

/** The data files of a checkpoint. */
export const dataFileStates = (store: Store, { directory, fileSizes, ranks }: Checkpoint): Promise<ReadonlyArray<SourceState>> =>
  eachOf([...(ranks ? [] : [METADATA]), ...fileSizes.keys()], async (name) => {
    const path = join(directory, name)
    return { path, ...storedState(await store.stat(path)) }
  })

/** The states that every range read from a remote file is checked against; none for files of this machine. */
export const pinnedOf = (states: ReadonlyArray<SourceState>): { readonly pinned?: ReadonlyArray<{ readonly file: string; readonly by: string }> } => {
  const pinned = states.filter(({ path }) => isRemote(path)).map(({ identity, path }) => ({ file: path, by: /^[0-9a-f]{64}$/.test(identity) ? `SHA-256 ${identity}` : identity }))
  return pinned.length === 0 ? {} : { pinned }
}
