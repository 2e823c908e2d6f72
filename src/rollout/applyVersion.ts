/**
 * A delta, applied to a local copy in place. Before anything is touched its files are summed, and what it is applied to must be what it
 * was made against. A run that was cut short is gone on with: a tensor that is new already stays, one that is old is changed, and one that
 * is neither is made anew from the last full version.
 */
import { Effect, type Scope } from "effect"
import { join } from "node:path"
import { type JobError, FormatError, InvalidFile, quote, some } from "../errors.ts"
import { converting } from "../io/attempt.ts"
import { Disk, type DiskFile } from "../io/Disk.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { INDEX_NAME } from "../safetensors/locate.ts"
import { type HfTensor, openSafetensors, openShard, type HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import type { StoredFile } from "../store/Store.ts"
import { ApplyRoom, applyTensor, type DeltaTensor } from "./applyTensor.ts"
import { Hashers, layoutText } from "./checksums.ts"
import { type LocalState, settledIdentities, writeLocalState } from "./LocalState.ts"
import { sumOfFile, sumOfRange } from "./sums.ts"
import type { DeltaVersion } from "./Version.ts"

const CONCURRENT_TENSORS = 4

export interface AppliedVersion {
  readonly state: LocalState
  /** Bytes of the tensors that were changed. */
  readonly bytes: number
  readonly tensors: number
  /** Tensors that an interrupted run had changed already. */
  readonly found: number
  /** Tensors that were neither old nor new. */
  readonly rebuilt: number
}

/** A tensor of a delta, opened, and its sums. */
interface Change extends DeltaTensor {
  readonly file: DiskFile
  readonly newSum: string
  readonly oldSum: string | undefined
}

/** Where the bytes of one tensor of the version before can be had, if the local ones are damaged. */
export type Rebuild = (name: string, file: DiskFile, local: { readonly begin: number; readonly end: number }, version: number) => Effect.Effect<void, JobError, Disk | Scope.Scope>

export interface ApplyRun {
  readonly rebuild: Rebuild
  readonly progress?: ((bytes: number) => void) | undefined
}

const pathOf = ({ directory }: DeltaVersion): string => join(directory, INDEX_NAME)

/** The tensors of a delta and where each is in its shards. */
export const openDelta = (version: DeltaVersion) =>
  Effect.gen(function*() {
    if (Object.keys(version.weightMap).length === 0) return undefined
    const opened: HfTensors = yield* openSafetensors(version.directory)
    for (const { dtype, name, shape } of opened.tensors.values()) {
      if (dtype !== "U8" || shape.length !== 1) {
        return yield* new InvalidFile({ path: version.directory, code: "rollout/not-a-frame", problem: `is ${layoutText({ dtype, shape })}, and a delta holds vectors of bytes`, place: { tensor: name } })
      }
    }
    return opened
  })

/** Every shard must be what was published: a damaged one would ruin what it is applied to. */
const refuseDamaged = Effect.fnUntraced(function*({ fileChecksums, directory }: DeltaVersion, { shards }: HfTensors) {
  const store = yield* storeInUse
  if (fileChecksums === undefined) return
  yield* Effect.forEach(shards, ({ file, path }) => converting(async () => {
    const expected = fileChecksums[file]
    const found = await sumOfFile(store, path)
    if (expected !== found) {
      throw new InvalidFile({ path, code: "rollout/damaged", problem: `has the sum ${found}, its version says ${expected ?? "none"}`, hint: `Copy ${quote(directory)} again, or publish a full version.` })
    }
  }), { concurrency: CONCURRENT_TENSORS })
})

const openFiles = Effect.fnUntraced(function*(local: HfTensors, delta: HfTensors) {
  const disk = yield* Disk
  const shards = yield* Effect.forEach(delta.shards, (shard) => Effect.map(openShard(shard), (file) => [shard.file, file] as const))
  const touched = new Set(Iterator.from(delta.tensors.keys()).map((name) => local.tensors.get(name)!.shard))
  const files = yield* Effect.forEach(touched, (number) => Effect.map(
    Effect.acquireRelease(converting(() => disk.open(local.shards[number]!.path, "readwrite")), (file) => Effect.promise(() => file.close().catch(() => {}))),
    (file) => [number, file] as const
  ))
  return { shards: new Map<string, StoredFile>(shards), files: new Map<number, DiskFile>(files) }
})

const refuseOthers = (version: DeltaVersion, local: HfTensors, delta: HfTensors): void => {
  const foreign = [...delta.tensors.keys()].filter((name) => !local.tensors.has(name))
  if (foreign.length > 0) {
    throw new InvalidFile({ path: pathOf(version), code: "rollout/other-layout", problem: `changes tensors that ${quote(local.directory)} does not have: ${some(foreign)}`, place: { tensor: foreign[0]! } })
  }
  for (const [name, layout] of Object.entries(version.layouts ?? {})) {
    const own = local.tensors.get(name)
    if (own && layoutText(own) !== layout) {
      throw new InvalidFile({ path: pathOf(version), code: "rollout/other-layout", problem: `is made for ${layout}; in ${quote(local.directory)} it is ${layoutText(own)}`, place: { tensor: name } })
    }
  }
}

const changeOf = (version: DeltaVersion, local: HfTensor, frame: HfTensor, shard: StoredFile, file: DiskFile, newSum: string | undefined): Change => {
  const { name } = local
  if (newSum === undefined) throw new InvalidFile({ path: shard.path, code: "rollout/no-checksum", problem: "does not say the sum of the tensor's new bytes", place: { tensor: name } })
  return { name, shard, frame, file, local, encoding: version.encoding, newSum, oldSum: version.baseChecksums?.[name] }
}

type Standing = "old" | "new" | "neither"

/** Give rooms out, one for each tensor under way. */
class Rooms {
  readonly #free: Array<ApplyRoom> = []

  async with<A>(use: (room: ApplyRoom) => Promise<A>): Promise<A> {
    const room = this.#free.pop() ?? new ApplyRoom()
    try {
      return await use(room)
    } finally {
      this.#free.push(room)
    }
  }
}

/** Frames and sums that are wrong are told with their file and tensor. */
const inShard = async <A>({ name, shard }: Change, use: () => Promise<A>): Promise<A> => {
  try {
    return await use()
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw new InvalidFile({ path: shard.path, code: error.code, problem: error.message, place: { tensor: name } })
  }
}

/** Apply the next version to `directory`, of which `before` is the state. */
export const applyVersion = (directory: string, before: LocalState, version: DeltaVersion, { progress, rebuild }: ApplyRun) =>
  Effect.scoped(Effect.gen(function*() {
    const disk = yield* Disk
    const { base, version: number } = version
    if (before.version !== base) {
      return yield* new InvalidFile({ path: pathOf(version), code: "rollout/out-of-order", problem: `is to be applied to version ${base}; ${quote(directory)} is version ${before.version}` })
    }
    if (before.state !== undefined && version.baseState !== undefined && before.state !== version.baseState) {
      return yield* new InvalidFile({
        path: pathOf(version),
        code: "rollout/wrong-base",
        problem: `is to be applied to another model than that in ${quote(directory)}: its base has the sum ${version.baseState}, the copy ${before.state}`,
        hint: "The folder of versions was begun anew, or another's: pull with --fresh."
      })
    }
    const local: HfTensors = yield* openSafetensors(directory)
    const resumed = before.applying === number
    const isUntouched = before.files !== undefined && local.shards.every(({ file, identity }) => before.files![file] === identity)
    const delta = yield* openDelta(version)
    const done = { bytes: 0, tensors: 0, found: 0, rebuilt: 0 }
    if (delta) {
      yield* converting(() => refuseOthers(version, local, delta))
      yield* refuseDamaged(version, delta)
      const { files, shards } = yield* openFiles(local, delta)
      const changes = yield* converting(() => Array.from(delta.tensors.values(), (frame) => {
        const own = local.tensors.get(frame.name)!
        const shard = delta.shards[frame.shard]!
        return changeOf(version, own, frame, shards.get(shard.file)!, files.get(own.shard)!, shard.metadata?.get(frame.name))
      }))
      const hashers = new Hashers(version.checksum)
      const rooms = new Rooms()
      const each = <A>(of: ReadonlyArray<Change>, use: (change: Change, room: ApplyRoom) => Promise<A>) =>
        Effect.forEach(of, (change) => Effect.uninterruptible(converting(() => rooms.with((room) => use(change, room)))), { concurrency: CONCURRENT_TENSORS })
      const sumNow = ({ file, local: { begin, end } }: Change, room: ApplyRoom) => sumOfRange(hashers, file, begin, end, room.old())
      /** A publisher that gives no sums of the old bytes: what would come of them. */
      const wouldBe = (change: Change, room: ApplyRoom) => inShard(change, () => applyTensor(change.file, change, { hashers, room, write: false }))
      const standing = async (change: Change, room: ApplyRoom): Promise<Standing> => {
        const now = await sumNow(change, room)
        if (now === change.newSum) return "new"
        if (change.oldSum !== undefined) return now === change.oldSum ? "old" : "neither"
        return (await wouldBe(change, room)) === change.newSum ? "old" : "neither"
      }
      // What nobody has touched since it was summed is what it was.
      const standings: ReadonlyArray<Standing> = !resumed && isUntouched && version.baseState !== undefined && version.fileChecksums !== undefined
        ? changes.map(() => "old" as const)
        : yield* each(changes, standing)
      const torn = changes.filter((_, i) => standings[i] === "neither")
      if (!resumed && torn.length > 0) {
        return yield* new InvalidFile({
          path: directory,
          code: "rollout/wrong-base",
          problem: `is not what version ${number} was made against: ${some(torn.map(({ name }) => name), 20)}`,
          hint: "It was changed since it was pulled, or the delta is of another run: pull with --fresh."
        })
      }
      yield* Effect.uninterruptible(converting(() => writeLocalState(disk, directory, { version: base, state: before.state, applying: number })))
      const [first] = torn
      if (first) yield* Effect.forEach(torn, ({ file, local: place, name }) => rebuild(name, file, place, base))
      const open = changes.filter((_, i) => standings[i] !== "new")
      yield* each(open, async (change, room) => {
        const found = await inShard(change, () => applyTensor(change.file, change, { hashers, room, write: true, progress }))
        if (found !== change.newSum) {
          throw new InvalidFile({
            path: directory,
            code: "rollout/checksum",
            problem: `has the sum ${found} with version ${number} applied, which says ${change.newSum}`,
            place: { tensor: change.name },
            hint: "Pull again: the tensor is then made anew from the last full version. Do not let an engine load it before."
          })
        }
        done.bytes += change.local.end - change.local.begin
        done.tensors++
      })
      done.found = changes.length - open.length
      done.rebuilt = torn.length
      yield* Effect.uninterruptible(converting(async () => {
        for (const file of files.values()) await file.sync()
      }))
    }
    // A file that somebody has changed holds other tensors as well, which this version has not looked at.
    const known = local.shards.filter(({ file, identity }) => before.files?.[file] === identity)
    const identities = yield* converting(() => settledIdentities(disk, known.map(({ file, path }) => [file, path])))
    const state: LocalState = { version: number, state: version.state, files: identities }
    yield* Effect.uninterruptible(converting(() => writeLocalState(disk, directory, state)))
    return { ...done, state } satisfies AppliedVersion as AppliedVersion
  }))
