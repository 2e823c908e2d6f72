/** A local copy of a model, brought to a version: by the deltas since the version that it has, or from the last full version on. */
import { Effect } from "effect"
import { resolve } from "node:path"
import { type JobError, InvalidFile, IoError, OutputRefused, quote, UsageError } from "../errors.ts"
import { converting } from "../io/attempt.ts"
import { Disk, type DiskCalls, type DiskFile, writeFully } from "../io/Disk.ts"
import { discard } from "../publish/staging/discard.ts"
import { Lock } from "../publish/staging/Lock.ts"
import { stagingOf } from "../publish/staging/names.ts"
import { isRemote } from "../remote/place.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { type HfTensors, openSafetensors, openShard } from "../safetensors/SafetensorsDirectory.ts"
import { isMissing } from "../store/present.ts"
import { readFully } from "../store/Store.ts"
import { ApplyRoom, applyTensor } from "./applyTensor.ts"
import { applyVersion, openDelta, type Rebuild } from "./applyVersion.ts"
import { Hashers } from "./checksums.ts"
import { type LocalState, readLocalState } from "./LocalState.ts"
import { seedCopy, type Seed, type SeedRun } from "./seedCopy.ts"
import { type DeltaVersion, listVersions, readVersion, type Version } from "./Version.ts"

export interface PullOptions extends SeedRun {
  /** Default: the newest. */
  readonly version?: number
  /** The model that engines were started with, version 0: what deltas are applied to if no full version was published. */
  readonly model?: string
  /** Copy anew, whatever is there. */
  readonly fresh?: boolean
  /** Told how many bytes will be read and changed, or copied. */
  readonly onSize?: (bytes: number) => void
}

/** What a pull did to a local copy. */
export interface PullReport {
  readonly local: string
  /** The version that was there. */
  readonly from?: number
  readonly version: number
  readonly state?: string
  /** The version that was copied as a whole; 0: the model that engines were started with. */
  readonly seeded?: number
  /** Versions that were applied. */
  readonly applied: ReadonlyArray<number>
  /** Of all that was applied. */
  readonly tensors: number
  readonly bytes: number
  /** Tensors that an interrupted pull had changed already, and those that it had left half changed. */
  readonly found: number
  readonly rebuilt: number
  readonly notes: ReadonlyArray<string>
}

/** What leads to a version: what to begin with, and the deltas after it, ascending. */
interface Chain {
  readonly seed: Seed | undefined
  readonly deltas: ReadonlyArray<DeltaVersion>
}

/** More than anybody keeps; a chain that leads back to itself is longer. */
const LONGEST_CHAIN = 100_000

/** Follow the bases of a version as far as a full one, or as far as `enough`. */
const chainOf = Effect.fnUntraced(function*(root: string, target: number, model: string | undefined, enough?: number) {
  const deltas: Array<DeltaVersion> = []
  for (let at = target; at !== 0; ) {
    if (at === enough) return { seed: undefined, deltas: deltas.toReversed() } satisfies Chain as Chain
    const version: Version = yield* readVersion(root, at)
    if (version.kind === "full") return { seed: version, deltas: deltas.toReversed() } satisfies Chain as Chain
    if (version.base >= at || deltas.length === LONGEST_CHAIN) {
      return yield* new InvalidFile({ path: version.directory, code: "rollout/no-base", problem: `is applied to version ${version.base}, which does not come before it` })
    }
    deltas.push(version)
    at = version.base
  }
  return { seed: model === undefined ? undefined : { directory: model, version: 0 }, deltas: deltas.toReversed() } satisfies Chain as Chain
})

/** What is where the copy is to be. */
const standingOf = async (disk: DiskCalls, local: string): Promise<LocalState | undefined> => {
  const state = await readLocalState(disk, local)
  if (state !== undefined) return state
  const names = await disk.list(local).catch((error: unknown) => {
    if (isMissing(error)) return []
    throw error
  })
  if (names.length > 0) {
    throw new OutputRefused({ path: local, code: "output/not-a-copy", problem: "holds files, and is no copy of a version that this tool or an engine has pulled", hint: "Name a directory that is empty or does not exist yet." })
  }
  return undefined
}

const PIECE = 4 << 20

/** Bytes of a tensor as a version has them: those of the last full one, with all deltas since applied. */
const rebuilding = (root: string, model: string | undefined, hashersOf: (delta: DeltaVersion) => Hashers): Rebuild => (name, file: DiskFile, place, version) => Effect.gen(function*() {
  const { deltas, seed } = yield* chainOf(root, version, model)
  const lost = (why: string) => new InvalidFile({ path: file.path, code: "rollout/torn", problem: `was changed in part by a pull that was cut short, and ${why}`, place: { tensor: name }, hint: "Pull with --fresh." })
  if (!seed) return yield* lost("no full version is there to take it from")
  const opened = yield* openSafetensors(seed.directory)
  const source = opened.tensors.get(name)
  if (!source || source.end - source.begin !== place.end - place.begin) return yield* lost(`version ${seed.version} has none of its size`)
  const shard = yield* openShard(opened.shards[source.shard]!)
  yield* Effect.uninterruptible(converting(async () => {
    const room = new Uint8Array(Math.min(PIECE, place.end - place.begin))
    for (let at = 0; at < place.end - place.begin; at += room.byteLength) {
      const piece = room.subarray(0, Math.min(room.byteLength, place.end - place.begin - at))
      await readFully(shard, piece, source.begin + at)
      await writeFully(file, piece, place.begin + at)
    }
  }))
  for (const delta of deltas) {
    const tensors = yield* openDelta(delta)
    const frame = tensors?.tensors.get(name)
    if (!tensors || !frame) continue
    const from = yield* openShard(tensors.shards[frame.shard]!)
    const sum = yield* Effect.uninterruptible(converting(() => applyTensor(file, { name, shard: from, frame, encoding: delta.encoding, local: place }, { hashers: hashersOf(delta), room: new ApplyRoom(), write: true })))
    if (sum !== tensors.shards[frame.shard]!.metadata?.get(name)) return yield* lost(`version ${delta.version} does not lead to what it says`)
  }
})

/** Can the copy go on from where it is? */
const goesOn = ({ deltas }: Chain, { applying, version }: LocalState, target: number): boolean => {
  const at = deltas.findIndex(({ base }) => base === version)
  if (applying === undefined) return version === target || at >= 0
  return at >= 0 && deltas[at]!.version === applying
}

/** What will be copied and changed. Headers only. */
const bytesOf = Effect.fnUntraced(function*(local: string, seed: Seed | undefined, deltas: ReadonlyArray<DeltaVersion>) {
  const base: HfTensors = yield* openSafetensors(seed?.directory ?? local)
  let bytes = seed ? base.tensorBytes : 0
  for (const delta of deltas) {
    for (const name of Object.keys(delta.weightMap)) {
      const tensor = base.tensors.get(name)
      if (tensor) bytes += tensor.end - tensor.begin
    }
  }
  return bytes
})

/** Hold the lock of a copy while it is changed. */
const locked = (disk: DiskCalls, local: string) =>
  Effect.acquireRelease(
    converting(() => Lock.acquire(disk, stagingOf(local), local)),
    (lock) => Effect.promise(async () => {
      await lock.release()
      await discard(disk, local, lock.identity).catch(() => {})
    })
  )

/** Bring `directory` to a version of `root`. */
export const pullVersion = (root: string, directory: string, request: PullOptions = {}): Effect.Effect<PullReport, JobError, Disk> => Effect.gen(function*() {
  const { fresh = false, model, onSize, progress, version: asked, ...limits } = request
  const disk = yield* Disk
  const store = yield* storeInUse
  const local = resolve(directory)
  const target = asked ?? (yield* converting(() => listVersions(store, root))).at(-1)
  if (target === undefined) return yield* new InvalidFile({ path: root, code: "rollout/no-versions", problem: "holds no versions (weight_v000001 and so on)", ...(isRemote(root) ? { hint: "A web server lists nothing: --to N says which version." } : {}) })
  if (!Number.isSafeInteger(target) || target < 0) return yield* new UsageError({ problem: `${target} is no version` })
  const found: LocalState | undefined = yield* converting(() => standingOf(disk, local))
  const here = fresh ? undefined : found
  if (here?.version === target && here.applying === undefined) {
    return { local: directory, from: here.version, version: target, ...(here.state === undefined ? {} : { state: here.state }), applied: [], tensors: 0, bytes: 0, found: 0, rebuilt: 0, notes: [`${quote(directory)} is version ${target} already`] }
  }
  const chain: Chain = yield* chainOf(root, target, model, here?.version)
  const whole: Chain = here && goesOn(chain, here, target) ? chain : yield* chainOf(root, target, model)
  const isSeeded = !here || !goesOn(whole, here, target)
  if (isSeeded && !whole.seed) {
    return yield* new InvalidFile({ path: root, code: "rollout/no-full-version", problem: `no full version leads to version ${target}`, hint: "--model names the model that the first delta was made against; or publish a full version." })
  }
  const hashers = new Map<string, Hashers>()
  const hashersOf = ({ checksum }: DeltaVersion): Hashers => {
    const known = hashers.get(checksum) ?? new Hashers(checksum)
    hashers.set(checksum, known)
    return known
  }
  const rebuild = rebuilding(root, model, hashersOf)
  const report = { applied: [] as Array<number>, tensors: 0, bytes: 0, found: 0, rebuilt: 0 }
  if (onSize) onSize(yield* bytesOf(local, isSeeded ? whole.seed : undefined, whole.deltas))
  let state: LocalState = isSeeded ? yield* seedCopy(local, whole.seed!, { ...limits, progress }) : here
  yield* Effect.scoped(Effect.gen(function*() {
    const lock = yield* locked(disk, local)
    // Another process may have been here in between.
    const now = yield* converting(() => readLocalState(disk, local))
    if (now === undefined || now.version !== state.version || now.applying !== state.applying) {
      return yield* new IoError({ path: local, operation: "lock", errno: "EBUSY", detail: "another process has pulled it meanwhile" })
    }
    const open = whole.deltas.slice(Math.max(0, whole.deltas.findIndex(({ base }) => base === state.version)))
    for (const delta of state.version === target ? [] : open) {
      lock.throwIfLost()
      const done = yield* applyVersion(local, state, delta, { rebuild, progress })
      state = done.state
      report.applied.push(delta.version)
      for (const key of ["tensors", "bytes", "found", "rebuilt"] as const) report[key] += done[key]
    }
  }))
  return {
    local: directory,
    ...(found === undefined ? {} : { from: found.version }),
    version: target,
    ...(state.state === undefined ? {} : { state: state.state }),
    ...(isSeeded ? { seeded: whole.seed!.version } : {}),
    ...report,
    notes: []
  }
})
