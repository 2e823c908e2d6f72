/** The small files of a model directory that a conversion copies. */
import { basename, join } from "node:path"
import { eachOf } from "../store/eachOf.ts"
import type { Store } from "../store/Store.ts"
import { isMissing } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { known } from "../publish/journal/Fingerprint.ts"
import { CONFIG, type HfConfig } from "../space/HfSource.ts"
import type { Recorder } from "../publish/integrity/Recorder.ts"
import { changedSource, LARGEST_SIDE_FILE, type SmallSource, smallSource } from "../publish/sources.ts"

/** Copy them as they are. InvalidFile `source/changed` for one that is gone. */
export const copySmall = async (store: Store, files: ReadonlyArray<{ readonly name: string; readonly path: string }>, recorder: Recorder, folder = ""): Promise<void> => {
  const read = await eachOf(files, async ({ name, path }) => ({
    name,
    bytes: await readSmall(store, path, path, LARGEST_SIDE_FILE).catch((error: unknown): never => {
      throw isMissing(error) ? changedSource(path, "was removed while it was converted") : error
    })
  }))
  for (const { bytes, name } of read) await recorder.write(join(folder, name), bytes)
}

/** The config.json of a model, or of each of its parts that has one, as it was read. */
export const configStates = (config: HfConfig): ReadonlyArray<SmallSource> =>
  config.parts
    ? config.parts.flatMap(({ config: own, part }) => (part.config === undefined ? configStates(own) : []))
    : [{ ...known(config.derivedFrom ? basename(config.path) : CONFIG, config.derivedFrom ?? config.bytes), path: config.path }]

/** As they are now: they must be so when the work is published. */
export const smallSources = (store: Store, files: ReadonlyArray<{ readonly name: string; readonly path: string }>): Promise<ReadonlyArray<SmallSource>> =>
  eachOf(files, ({ name, path }) => smallSource(store, name, path))
