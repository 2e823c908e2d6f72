/** A local copy of a full version, or of the model that engines were started with: written beside the target, and there at once. */
import { Effect } from "effect"
import { join } from "node:path"
import type { SideFile } from "../convert/filesBelow.ts"
import { produce } from "../convert/produce.ts"
import { type EngineLimits, wholeFile } from "../engine/index.ts"
import { InvalidFile, quote, some } from "../errors.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { commit } from "../publish/commit.ts"
import { sourceFile } from "../publish/journal/Fingerprint.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { openSafetensors, type HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { encodeIndex } from "../safetensors/ShardIndex.ts"
import type { JsonMap } from "../document/StrictJson.ts"
import { sideFiles } from "../space/HfSource.ts"
import { storedState } from "../store/Store.ts"
import { stateChecksum, type SummedTensor } from "./checksums.ts"
import { encodeLocalState, type LocalState, settledIdentities } from "./LocalState.ts"
import { STATE_FILE, STATE_FOLDER } from "./names.ts"
import { sumTensors, type TensorRange } from "./sums.ts"

export interface SeedRun extends EngineLimits {
  readonly progress?: ((bytes: number) => void) | undefined
  readonly onWait?: (text: string) => void
}

export interface Seed {
  readonly directory: string
  readonly version: number
  readonly state?: string
  readonly checksums?: Readonly<Record<string, string>>
}

const refuseOthers = (seed: Seed, sums: ReadonlyMap<string, SummedTensor>, state: string): void => {
  const wrong = seed.checksums === undefined ? [] : [...sums].filter(([name, { checksum }]) => seed.checksums![name] !== checksum).map(([name]) => name)
  if (wrong.length === 0 && (seed.state === undefined || seed.state === state)) return
  throw new InvalidFile({
    path: seed.directory,
    code: "rollout/damaged",
    problem: wrong.length > 0 ? `has other bytes than its index says in ${some(wrong, 20)}` : `is another model than its index says: its sum is ${state}`,
    hint: "Copy it again, or publish a full version."
  })
}

/** What an index says of the version that it belongs to: no longer true of a copy that goes on to others. */
const OF_VERSION = new Set<string>(["version", "checksum_format", "state", "checksums", "source", "source_files"])

const withoutVersion = (metadata: JsonMap): JsonMap => new Map([...metadata].filter(([key]) => !OF_VERSION.has(key)))

/** Copy, sum what was copied, and replace `target` by it. */
export const seedCopy = Effect.fnUntraced(function*(target: string, seed: Seed, { progress, ...limits }: SeedRun) {
  const disk = yield* Disk
  const store = yield* storeInUse
  const opened: HfTensors = yield* openSafetensors(seed.directory)
  const weights: ReadonlyArray<SideFile> = opened.shards.map(({ file, identity, path, size, stamp }) => ({ name: file, path, size, identity, stamp }))
  const names = new Set(weights.map(({ name }) => name))
  const small = (yield* sideFiles(seed.directory)).filter(({ name }) => !names.has(name))
  const beside = yield* converting(() => Promise.all(small.map(async ({ name, path }): Promise<SideFile> => ({ name, path, ...storedState(await store.stat(path)) }))))
  const copied = [...weights, ...beside]
  let done: LocalState = { version: seed.version }
  yield* produce(target, { ...limits, overwrite: true, checksum: false, ...(progress ? { progress } : {}) }, {
    files: copied.filter(({ size }) => size > 0).map(wholeFile),
    states: copied,
    folder: "",
    ingredients: copied.map((file) => sourceFile(file.name, file)),
    sources: [seed.directory],
    report: () => ({ notes: [] }),
    checksum: false
  }, Effect.fnUntraced(function*(publication) {
    const { directory, recorder } = publication
    yield* uninterruptibly(async () => {
      const sums = new Map<string, SummedTensor>()
      for (const shard of opened.shards) {
        const path = join(directory, shard.file)
        for (const [name, sum] of await sumTensors(disk, path, shard.tensors as ReadonlyArray<TensorRange>)) sums.set(name, sum)
      }
      const state = await stateChecksum(sums)
      refuseOthers(seed, sums, state)
      done = { version: seed.version, state, files: await settledIdentities(disk, opened.shards.map(({ file }) => [file, join(directory, file)])) }
      for (const { name, size } of beside) if (size === 0) await recorder.write(name, new Uint8Array(0))
      await recorder.makeDirectory(STATE_FOLDER)
      await recorder.write(join(STATE_FOLDER, STATE_FILE), encodeLocalState(done))
      if (opened.indexFile !== undefined) await recorder.write(opened.indexFile, encodeIndex({ ...opened.index!, metadata: withoutVersion(opened.index!.metadata) }))
    })
    yield* commit(publication)
  }))
  yield* Effect.logDebug(`rollout: ${quote(target)} is a copy of ${quote(seed.directory)}`)
  return done
})
