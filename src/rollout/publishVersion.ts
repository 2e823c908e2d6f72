/**
 * The next version in a folder of versions: the whole model, or what differs from the version before. A version is written in a hidden
 * folder and gets its name when it is complete and durable, its index written last of all.
 */
import { Effect } from "effect"
import { isAbsolute, join, resolve } from "node:path"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type JobError, InvalidFile, PlanRefused, quote, UsageError } from "../errors.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { makeFolders } from "../io/small.ts"
import { commit } from "../publish/commit.ts"
import { publish } from "../publish/publish.ts"
import { refuseChanged } from "../publish/sources.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { INDEX_NAME } from "../safetensors/locate.ts"
import { present } from "../store/present.ts"
import { sameShape, volume } from "../tensor/Copy.ts"
import { bitsOf } from "../tensor/DType.ts"
import { filesSum, tensorSums } from "./baseSums.ts"
import { layoutText, stateChecksum, type SummedTensor } from "./checksums.ts"
import { compareStates } from "./compareStates.ts"
import type { DeltaEncoding } from "./DeltaWriter.ts"
import { publishFull } from "./fullVersion.ts"
import { shardName, versionFolder } from "./names.ts"
import { retain } from "./retention.ts"
import { openSource, type RolloutSource, type SourceRequest } from "./source.ts"
import { sumOfFile } from "./sums.ts"
import type { PublishVersionRun, VersionReport } from "./VersionReport.ts"
import { withoutUndefined, encodeDeltaIndex, listVersions, readVersion, type Version } from "./Version.ts"

/** What kind of version comes next, and how it is written. */
export interface PublishVersionRequest {
  /** A full version, whatever came before. */
  readonly full?: boolean
  /** Every so many versions a full one. Default 10. */
  readonly fullEvery?: number
  /** Versions that stay, with all that they are built on. Default: all. */
  readonly keep?: number
  readonly encoding?: DeltaEncoding
  /** What the version before was made from, if that is not where it was: a checkpoint of either kind. Of the first version: what engines were started with. */
  readonly base?: string
  /** Tensors that nothing trains: taken as they were in the version before, without a look, where that version tells their checksums. */
  readonly frozen?: ReadonlySet<string>
}

/** A version that is planned. */
export interface PreparedVersion {
  readonly report: VersionReport
  readonly run: (options?: PublishVersionRun) => Effect.Effect<VersionReport, JobError, Disk>
}

const FULL_EVERY = 10

const bytesOf = ({ tensors }: RolloutSource): number => Iterator.from(tensors.values()).reduce((sum, { dtype, shape }) => sum + Math.ceil((volume(shape) * bitsOf(dtype)) / 8), 0)

/** How many deltas stand at the end, and the newest version. */
const lastVersions = Effect.fnUntraced(function*(root: string) {
  const store = yield* storeInUse
  const versions = yield* converting(() => listVersions(store, root))
  const newest = versions.at(-1)
  if (newest === undefined) return { versions, newest: undefined, deltas: 0 }
  const last: Version = yield* readVersion(root, newest)
  let deltas = 0
  let at: Version = last
  while (at.kind === "delta") {
    if (!versions.includes(at.base)) break
    deltas++
    at = yield* readVersion(root, at.base)
  }
  return { versions, newest: last, deltas: last.kind === "delta" ? Math.max(1, deltas) : 0 }
})

/** Names, dtypes and shapes must be the same, or no receiver has where a delta belongs. */
const refuseOtherLayout = (old: RolloutSource, now: RolloutSource): void => {
  const names = new Set([...old.tensors.keys(), ...now.tensors.keys()])
  const differing = [...names].filter((name) => {
    const [a, b] = [old.tensors.get(name), now.tensors.get(name)]
    return !a || !b || a.dtype !== b.dtype || !sameShape(a.shape, b.shape)
  })
  if (differing.length === 0) return
  const [first] = differing as [string, ...Array<string>]
  const [a, b] = [old.tensors.get(first), now.tensors.get(first)]
  const what = a && b ? `${quote(first)} was ${layoutText(a)} and is ${layoutText(b)}` : `${quote(first)} is in one of the two only`
  throw new PlanRefused({
    code: "rollout/other-layout",
    problem: `${quote(now.path)} is no later state of ${quote(old.path)}: ${what}; tensors that do not fit`,
    names: differing,
    hint: "--full publishes the model as a whole."
  })
}

/** Where the version before is read from; undefined, with the reason: nowhere. */
const baseOf = Effect.fnUntraced(function*(newest: Version, base: string | undefined) {
  const store = yield* storeInUse
  if (base !== undefined) return { path: base }
  if (newest.source !== undefined && isAbsolute(newest.source) && (yield* converting(() => present(store, newest.source!)))) return { path: newest.source }
  if (newest.kind === "full") return { path: newest.directory }
  return { why: newest.source === undefined ? `version ${newest.version} does not say what it was made from` : `${quote(newest.source)}, which version ${newest.version} was made from, is gone` }
})

/** Plan the next version. Headers only. */
export const preparePublish = Effect.fnUntraced(function*(families: FamilyRegistry, path: string, root: string, source: SourceRequest, request: PublishVersionRequest = {}) {
  const { base, encoding = "xor", frozen = new Set<string>(), full = false, fullEvery = FULL_EVERY, keep } = request
  if (!Number.isInteger(fullEvery) || fullEvery < 1) return yield* new UsageError({ problem: "--full-every is a whole number from 1 on" })
  if (keep !== undefined && (!Number.isInteger(keep) || keep < 1)) return yield* new UsageError({ problem: "--keep is a whole number from 1 on" })
  if (full && base !== undefined) return yield* new UsageError({ problem: "--full needs no --base" })
  const now: RolloutSource = yield* openSource(families, path, source)
  const { deltas, newest, versions } = yield* lastVersions(root)
  const version = (newest?.version ?? 0) + 1
  const common = {
    version,
    directory: join(root, versionFolder(version)),
    source: path,
    tensors: now.tensors.size,
    modelBytes: bytesOf(now),
    removed: []
  }
  const finish = (report: VersionReport) => Effect.gen(function*() {
    if (keep === undefined) return report
    const removed = yield* retain(root, keep)
    return { ...report, removed }
  })
  const asFull = (notes: ReadonlyArray<string>): PreparedVersion => {
    const report: VersionReport = { ...common, kind: "full", notes: [...now.notes, ...notes] }
    return { report, run: (options = {}) => Effect.flatMap(publishFull(root, now, version, resolve(path), options), (done) => finish({ ...report, ...done, notes: [...report.notes, ...done.notes] })) }
  }
  const first = newest === undefined && base === undefined
  if (full || first || deltas + 1 >= fullEvery) return asFull(first || full ? [] : [`every ${fullEvery} versions a full one: --full-every`])
  const found = newest === undefined ? { path: base! } : yield* baseOf(newest, base)
  if (found.path === undefined) return asFull([`a full version: ${found.why}`])
  const old: RolloutSource = yield* openSource(families, found.path, source)
  yield* converting(() => refuseOtherLayout(old, now))
  const isAsPublished = newest?.sourceFiles !== undefined && newest.sourceFiles === (yield* converting(() => filesSum(old)))
  const sums: ReadonlyMap<string, string> = newest && (isAsPublished || frozen.size > 0) ? yield* tensorSums(root, newest, versions) : new Map<string, string>()
  const kept = new Map(Iterator.from(now.tensors).flatMap(([name, { dtype, shape }]): ReadonlyArray<readonly [string, SummedTensor]> => {
    const checksum = frozen.has(name) ? sums.get(name) : undefined
    return checksum === undefined ? [] : [[name, { dtype, shape, checksum }]]
  }))
  const report: VersionReport = {
    ...common, kind: "delta", base: newest?.version ?? 0, encoding,
    ...(frozen.size === 0 ? {} : { frozenTensors: kept.size }),
    notes: [...now.notes, ...(kept.size === 0 ? [] : [`${kept.size} frozen tensors are taken as they were, and not read: \`diff --frozen\` looks`])]
  }
  return {
    report,
    run: (options = {}) => Effect.flatMap(publishDelta({ root, old, now, base: newest, report, encoding, source: resolve(path), kept, oldSums: isAsPublished ? sums : new Map() }, options), finish)
  } satisfies PreparedVersion as PreparedVersion
})

/** The version before is what the receivers have: a delta against anything else would ruin it. */
const refuseOtherState = (base: Version | undefined, path: string, found: string): void => {
  if (base?.state === undefined || base.state === found) return
  throw new InvalidFile({
    path,
    code: "rollout/wrong-base",
    problem: `is not what version ${base.version} was made from: the model's sum is ${found}, the version says ${base.state}`,
    hint: "--base names what it was made from; --full publishes the model as a whole."
  })
}

interface Delta {
  readonly root: string
  readonly old: RolloutSource
  readonly now: RolloutSource
  readonly base: Version | undefined
  readonly report: VersionReport
  readonly encoding: DeltaEncoding
  /** Absolute. */
  readonly source: string
  /** Tensors that are taken as they were. */
  readonly kept: ReadonlyMap<string, SummedTensor>
  /** Sums of old tensors that are known. */
  readonly oldSums: ReadonlyMap<string, string>
}

const publishDelta = (
  { base, encoding, kept, now, old, oldSums, report, root, source }: Delta,
  { concurrency, far, io, maxMemory, onKept, onWait, progress }: PublishVersionRun
) => Effect.gen(function*() {
  const disk = yield* Disk
  const store = yield* storeInUse
  yield* uninterruptibly(() => makeFolders(disk, root))
  return yield* publish(report.directory, { overwrite: false, size: 0, sources: [old.path, now.path], onKept, onWait }, (publication) => Effect.gen(function*() {
    const { directory, recorder, staged } = publication
    const pair = { names: [...now.tensors.keys()].filter((name) => !kept.has(name)), old: old.array, now: now.array }
    const done = yield* compareStates(pair, { ...withoutUndefined({ concurrency, far, io, maxMemory }), encoding, oldSums, directory, progress })
    yield* converting(() => refuseChanged(store, [...old.states, ...now.states]))
    const sourceFiles = yield* converting(() => filesSum(now))
    const [baseState, state] = (yield* converting(() => Promise.all([done.old, done.now].map((read) => stateChecksum(new Map([...read, ...kept])))))) as [string, string]
    yield* converting(() => refuseOtherState(base, old.path, baseState))
    const weightMap = new Map<string, string>()
    const fileChecksums = new Map<string, string>()
    yield* uninterruptibly(async () => {
      for (const [i, { file, names }] of done.shards.entries()) {
        const name = shardName(i, done.shards.length)
        await disk.rename(join(directory, file), join(directory, name))
        await staged.record(name)
        fileChecksums.set(name, await sumOfFile(disk, join(directory, name)))
        for (const tensor of names) weightMap.set(tensor, name)
      }
      await recorder.write(INDEX_NAME, encodeDeltaIndex({
        version: report.version,
        base: base?.version ?? 0,
        encoding,
        state,
        baseState,
        baseChecksums: new Map(done.changed.map((name) => [name, done.old.get(name)!.checksum])),
        layouts: new Map(done.changed.map((name) => [name, layoutText(done.now.get(name)!)])),
        fileChecksums,
        weightMap: new Map(done.changed.map((name) => [name, weightMap.get(name)!])),
        source,
        sourceFiles
      }))
    })
    yield* commit(publication)
    const bytes = done.shards.reduce((sum, shard) => sum + shard.bytes, 0)
    return { ...report, changedTensors: done.changed.length, bytes, state, notes: [...report.notes, ...publication.notes] } satisfies VersionReport as VersionReport
  }))
})
