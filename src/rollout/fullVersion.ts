/** A full version: a Hugging Face directory whose index says the sum of every tensor. Files that are as they were are links. */
import { Effect } from "effect"
import { join } from "node:path"
import type { SideFile } from "../convert/filesBelow.ts"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { makeFolders } from "../io/small.ts"
import type { HfFiles } from "../plan/HfFiles.ts"
import type { Publication } from "../publish/Publication.ts"
import { present } from "../store/present.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { writing } from "../reshard/writing.ts"
import { INDEX_NAME } from "../safetensors/locate.ts"
import { openSafetensors, type HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { encodeIndex } from "../safetensors/ShardIndex.ts"
import type { JsonTree } from "../document/StrictJson.ts"
import { filesSum } from "./baseSums.ts"
import { stateChecksum, type SummedTensor } from "./checksums.ts"
import { STATE_FOLDER, versionFolder } from "./names.ts"
import type { PublishVersionRun, VersionReport } from "./VersionReport.ts"
import type { RolloutSource } from "./source.ts"
import { tensorRanges, sumTensors, type TensorRange } from "./sums.ts"
import { fullMetadata, listVersions, readVersion, type FullVersion, type Version } from "./Version.ts"

/** What writing a full version adds to its report. */
type Done = Pick<VersionReport, "bytes" | "linkedBytes" | "state" | "notes">

interface IndexFacts {
  readonly version: number
  readonly source: string
  readonly sourceFiles: string | undefined
  readonly metadata: ReadonlyMap<string, JsonTree>
  /** Tensor → file. */
  readonly weightMap: ReadonlyMap<string, string>
  readonly sums: ReadonlyMap<string, SummedTensor>
}

const fullIndex = async ({ metadata, source, sourceFiles, sums, version, weightMap }: IndexFacts) => {
  const state = await stateChecksum(sums)
  const checksums = new Map(Iterator.from(sums).map(([name, { checksum }]) => [name, checksum] as const))
  const bytes = encodeIndex({ metadata: new Map([...metadata, ...fullMetadata({ version, state, checksums, source, sourceFiles })]), weightMap })
  return { state, bytes }
}

/** The newest full version whose sums are known, and its files. */
const formerFull = Effect.fnUntraced(function*(root: string) {
  const store = yield* storeInUse
  const versions = yield* converting(() => listVersions(store, root))
  for (const number of versions.toReversed()) {
    const version: Version = yield* readVersion(root, number)
    if (version.kind === "full") return version.checksums ? { version, opened: yield* openSafetensors(version.directory) } : undefined
  }
  return undefined
})

interface Former {
  readonly version: FullVersion
  readonly opened: HfTensors
}

/** The same file in an earlier version; undefined if it is another one. */
const sameFile = ({ opened, version }: Former, name: string, size: number, header: Uint8Array | undefined, sums: ReadonlyArray<readonly [string, SummedTensor]>): string | undefined => {
  const shard = opened.shards.find(({ file }) => file === name)
  if (!shard || !header || shard.size !== size || Buffer.compare(shard.headerBytes, header) !== 0) return undefined
  return sums.every(([tensor, { checksum }]) => version.checksums![tensor] === checksum) ? shard.path : undefined
}

/** Put a link in the place of a staged file. False where there can be none. */
const relink = async (disk: DiskCalls, { directory, recorder }: Publication, name: string, earlier: string): Promise<boolean> => {
  const [aside, path] = [join(directory, `.${name}.link`), join(directory, name)]
  // What an interrupted run left.
  if (await present(disk, aside)) await disk.remove(aside)
  try {
    await disk.link(earlier, aside)
  } catch {
    // The file that was written is as good.
    return false
  }
  await disk.rename(aside, path)
  await recorder.skip(name, true)
  return true
}

const publishMegatron = (root: string, source: RolloutSource & { readonly kind: "megatron" }, version: number, path: string, run: PublishVersionRun) => Effect.gen(function*() {
  const disk = yield* Disk
  const former = yield* formerFull(root)
  const { run: exportTo } = source.prepared
  const done = { bytes: 0, linkedBytes: 0, state: "" }
  const last = (publication: Publication, { files, indices: [index] }: HfFiles) => uninterruptibly(async () => {
    const sums = new Map<string, SummedTensor>()
    const weightMap = new Map<string, string>()
    for (const file of files) {
      const { name, segments, size } = file
      done.bytes += size
      const [header] = segments
      const ranges = tensorRanges(file)
      // A file that is copied as a whole holds no tensors of the model.
      if (header?.kind !== "bytes") continue
      const own = await sumTensors(disk, join(publication.directory, name), ranges)
      for (const [tensor, sum] of own) {
        sums.set(tensor, sum)
        weightMap.set(tensor, name)
      }
      const earlier = former && sameFile(former, name, size, header.bytes, own)
      if (earlier !== undefined && await relink(disk, publication, name, earlier)) done.linkedBytes += size
    }
    const total = files.reduce((sum, { segments, size }) => (segments[0]?.kind === "bytes" ? sum + size - segments[0].bytes.byteLength : sum), 0)
    const { bytes, state } = await fullIndex({ version, source: path, sourceFiles: undefined, metadata: new Map([["total_size", total]]), weightMap, sums })
    done.state = state
    await publication.recorder.write(index?.name ?? INDEX_NAME, bytes)
  })
  const report = yield* exportTo(join(root, versionFolder(version)), { ...run, overwrite: false, checksum: false }, last)
  return { ...done, notes: report.notes.filter((note) => !source.notes.includes(note)) } satisfies Done as Done
})

const publishHf = (root: string, source: RolloutSource & { readonly kind: "hf" }, version: number, path: string, run: PublishVersionRun) => Effect.gen(function*() {
  const store = yield* storeInUse
  const { beside, shards, states, weights } = source
  const sums = new Map<string, SummedTensor>()
  yield* Effect.forEach(weights.shards, (shard) => Effect.map(converting(() => sumTensors(store, shard.path, shard.tensors as ReadonlyArray<TensorRange>, run.progress)), (own) => {
    for (const [name, sum] of own) sums.set(name, sum)
  }))
  const { bytes: index, state } = yield* converting(async () => fullIndex({
    version,
    source: path,
    sourceFiles: await filesSum(source),
    metadata: new Map([...weights.index?.metadata ?? [], ["total_size", weights.tensorBytes]]),
    weightMap: new Map(weights.shards.flatMap(({ file, tensors }) => tensors.map(({ name }) => [name, file] as const))),
    sums
  }))
  // A directory that versions are applied to in place would change the version with it.
  const mutable = (yield* converting(() => present(store, join(path, STATE_FOLDER)))) !== undefined
  const report = { linked: 0, cloned: 0, writtenBytes: 0, notes: [] as ReadonlyArray<string> }
  const { progress: _, ...runOptions } = run
  const done = yield* writing({
    directory: source.path,
    folder: "",
    folders: [],
    files: [],
    kept: shards,
    beside: beside.filter(({ name }) => name !== INDEX_NAME && !name.endsWith(".index.json")),
    changed: new Map([[INDEX_NAME, index]]),
    trackers: [],
    dataStates: states,
    sums: () => new StorageSums([]),
    ingredients: [],
    report
  }).run(join(root, versionFolder(version)), { ...runOptions, overwrite: false, checksum: false, link: !mutable })
  const bytes = shards.reduce((sum, { size }: SideFile) => sum + size, 0)
  return { bytes, linkedBytes: done.linked === shards.length ? bytes : 0, state, notes: done.notes } satisfies Done as Done
})

/** Write a full version. `path`: absolute, of the source, for whoever publishes the next one. */
export const publishFull = (root: string, source: RolloutSource, version: number, path: string, run: PublishVersionRun) => Effect.gen(function*() {
  const disk = yield* Disk
  yield* uninterruptibly(() => makeFolders(disk, root))
  return source.kind === "hf" ? yield* publishHf(root, source, version, path, run) : yield* publishMegatron(root, source, version, path, run)
})
