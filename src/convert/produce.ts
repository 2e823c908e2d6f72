/** What import and export have in common once they are planned: the work is recorded, resumed, published and reported. */
import { Context, Effect } from "effect"
import { join } from "node:path"
import { type EngineLimits, type ExecuteOptions, type ObservedIo, recordingIo } from "../engine/index.ts"
import { type BridgeError, type JobError, OutputRefused, quote, UsageError } from "../errors.ts"
import { attempt, uninterruptibly } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { finished } from "../publish/integrity/finished.ts"
import { contentOf, type Ingredient, fingerprintOf, sha256 } from "../publish/journal/Fingerprint.ts"
import { engineFor } from "../publish/journal/engineFor.ts"
import { isBegun } from "../publish/bucket/place.ts"
import { DiskPublication } from "../publish/DiskPublication.ts"
import type { Publication } from "../publish/Publication.ts"
import { publish } from "../publish/publish.ts"
import { lostSource } from "../publish/sources.ts"
import { stage } from "../publish/stage.ts"
import { withoutDirectorySync } from "../io/shared.ts"
import type { HubUploadOptions } from "../remote/hub/HubUpload.ts"
import { farAway, isRemote } from "../remote/place.ts"
import { OtherStore, sameElsewhere, storeInUse } from "../remote/storeInUse.ts"
import { whyNotReplaceable } from "./replaceable.ts"
import type { ConversionReport, IoSummary, IoWay } from "../plan/Report.ts"
import { VERSION } from "../version.ts"
import { currentWorld } from "../cluster/single.ts"
import { z } from "zod"
import { WHILE_ALL_LIVE } from "../cluster/limits.ts"
import type { WorldCalls } from "../cluster/World.ts"
import type { SourceRoots } from "./orders/sources.ts"
import { canOrder, type Payload } from "./orders/written.ts"
import { agreed, assist, callOff, published as allPublished, stageTogether } from "./together.ts"

export interface RunOptions extends EngineLimits, Pick<ExecuteOptions, "progress"> {
  /** Replace an existing target at the moment of the commit. */
  readonly overwrite: boolean
  /** Go on with what an interrupted run of the same conversion left; a finished one is left as it is. */
  readonly resume?: boolean
  /**
   * Write checksums of every file and tensor with the checkpoint. Default: for an import; an export has the files of the
   * original and no others, so there it is to be asked for.
   */
  readonly checksum?: boolean
  /** How a repository of the Hub is written, where the target is one. */
  readonly hub?: HubUploadOptions
  /** Told what an interruption left behind. */
  readonly onKept?: (text: string) => void
  /** Told why it takes a while before the work begins. */
  readonly onWait?: (text: string) => void
}

/**
 * What every process of a job knows of a conversion without a plan of it: the first one plans, the others agree that it is what they were
 * asked for, and do what it has written down.
 */
export interface Asked {
  /** Of the request, and of what of the model is read to name it. */
  readonly digest: string
  readonly roots: SourceRoots
}

/** A planned conversion, ready to be written. */
export interface Production<R extends { readonly notes: ReadonlyArray<string> } = ConversionReport> extends Payload {
  /** What of the payload is left to write once some files are there already, as links or clones. Default: all. */
  readonly place?: (publication: Publication) => Effect.Effect<Pick<Payload, "files" | "states">, JobError, Disk>
  /** Where in the target the files are. */
  readonly folder: string
  /** The folder is that of an iteration. */
  readonly iteration?: string
  /** Processes may take part that have not planned it. */
  readonly asked?: Asked
  /** What decides which bytes are written, and the files among it. */
  readonly ingredients: ReadonlyArray<Ingredient>
  /** Directories that are read. */
  readonly sources: ReadonlyArray<string>
  /** What to say of it; `changed`: elements that changed value, per array, once it is done. */
  readonly report: (changed?: ReadonlyMap<string, number>, io?: ReadonlyArray<ObservedIo>) => R
  /** Bytes that will be written, if not those of all files. */
  readonly size?: number
  readonly checksum: boolean
}

/**
 * Resume or begin, stage, publish, report. `finish` adds the small files and commits. Work that is complete already is not done again.
 *
 * In a world of several processes all of them write, and the first publishes; the others have the same report.
 */
export const produce = <R extends { readonly notes: ReadonlyArray<string> }>(
  target: string,
  options: RunOptions,
  production: Production<R>,
  finish: (publication: Publication) => Effect.Effect<void, JobError, Disk>
): Effect.Effect<R, JobError, Disk> =>
  Effect.gen(function*() {
    const found = new Set<string>()
    const given = yield* Disk
    const disk = withoutDirectorySync(given, (text) => found.add(text))
    sameElsewhere(disk, given)
    const report = yield* produceOn(target, options, production, finish).pipe(Effect.provideService(Disk, disk))
    return found.size === 0 ? report : { ...report, notes: [...report.notes, ...found] }
  })

const produceOn = <R extends { readonly notes: ReadonlyArray<string> }>(
  target: string,
  { concurrency, far, hub, io, maxMemory, onKept, onWait, overwrite, progress, resume, threads }: RunOptions,
  c: Production<R>,
  finish: (publication: Publication) => Effect.Effect<void, JobError, Disk>
): Effect.Effect<R, JobError, Disk> =>
  recordingIo((record) => Effect.gen(function*() {
    const disk = yield* Disk
    const store = yield* storeInUse
    const identity = fingerprintOf(c.ingredients, c.files)
    const engine = limitsOf({ concurrency, far: far ?? farAway(...c.sources).far, io, maxMemory, threads })
    const here = yield* currentWorld
    const world = here.size > 1 ? here : undefined
    if (world && isRemote(target)) {
      return yield* new UsageError({ problem: `${world.size} processes cannot share what is written to ${quote(target)}: they need a directory that all of them see`, hint: "--processes 1 writes there." })
    }
    const planned = Effect.fnUntraced(function*(inWorld: WorldCalls) {
      yield* agreed(inWorld, contentOf(identity))
      if (inWorld.rank > 0) yield* assist(inWorld, { is: "planned", job: identity, payload: c }, engineFor(engine))
    })
    const isOrdered = world !== undefined && (yield* together(world, c, engine, planned(world)))
    if (world && world.rank > 0) return c.report()
    const isUnfinished = isRemote(target) && (yield* attempt(() => isBegun(disk, target)))
    const before = resume && !isUnfinished
      ? yield* finished(join(target, c.folder), identity, c.files, { ...engine, ...(progress ? { progress } : {}) })
      : undefined
    if (before?.state === "complete") {
      if (world) yield* callOff(world)
      if (!isRemote(target)) yield* uninterruptibly(() => DiskPublication.tidy(disk, target).catch(() => {}))
      const report = c.report()
      const compared = `compared: ${(before.bytes / 1e6).toFixed(1)} MB that the sources give now with the checksums written with ${quote(target)}; of its files the sizes (verify --deep reads them)`
      return { ...report, notes: [...report.notes, `${quote(target)} was already complete; nothing was written`, compared] }
    }
    const options = {
      overwrite,
      resume,
      onKept,
      onWait,
      hub,
      size: c.size ?? c.files.reduce((n, f) => n + f.size, 0),
      sources: c.sources,
      notReplaceable: (names: ReadonlyArray<string>) => whyNotReplaceable(names, c.iteration),
      checksums: c.checksum,
      job: { identity, folder: c.folder, engine }
    }
    const staged = (publication: Publication, share: Payload) => {
      if (world) return publication instanceof DiskPublication ? stageTogether(world, publication, share, c.files, progress, isOrdered ? { job: identity, roots: c.asked!.roots } : undefined) : Effect.die(new Error("processes share a directory"))
      const alone = stage(publication, share, progress)
      return c.sums ? alone.pipe(Effect.provideService(OtherStore, c.sums.watch(store))) : alone
    }
    const published = publish(target, options, (publication) =>
      Effect.gen(function*() {
        yield* uninterruptibly(async () => {
          await publication.staged.makeDirectory(c.folder)
          for (const folder of foldersOf(c)) await publication.recorder.makeDirectory(folder)
        })
        const share = { ...c, ...(c.place ? yield* c.place(publication) : {}) }
        const changed = yield* staged(publication, share)
        yield* attempt(async () => c.sums?.finish(store)).pipe(Effect.mapError((error) => lostSource(error, c.states) ?? error))
        yield* finish(publication)
        const report = c.report(changed, record.observed)
        return { ...report, notes: [...report.notes, ...publication.notes] }
      }))
    const reported = yield* before?.state === "other"
      ? published.pipe(Effect.mapError((error) => (isInTheWay(error) ? madeFromOthers(error, before.file) : error)))
      : published
    if (world) yield* allPublished(world)
    return reported
  }))

const limitsOf = (limits: { readonly [K in keyof EngineLimits]?: EngineLimits[K] | undefined }): EngineLimits =>
  Object.fromEntries((["concurrency", "far", "io", "maxMemory", "threads"] as const).flatMap((key) => (limits[key] === undefined ? [] : [[key, limits[key]]])))

/** `said`: the words of the request that decide what is written; `content`: what of the model is read to name it. */
export const askedFor = (roots: SourceRoots, said: unknown, ...content: ReadonlyArray<Uint8Array>): Asked =>
  ({ digest: sha256(VERSION, JSON.stringify(said), ...content), roots })

/** How the processes go about it: the first writes down what the others do, or each of them plans. */
const waySchema = z.enum(["ordered", "planned"])

/** It is known already that each plans. */
const EachPlans = Context.Reference<boolean>("megatron-mimo/EachPlans", { defaultValue: () => false })

/** A broadcast first: until its first other step a process may be busy planning (limits.ts). */
const wayOfAll = (world: WorldCalls, way?: z.infer<typeof waySchema>) => world.broadcast("who plans", waySchema, way, { timeout: WHILE_ALL_LIVE })

const byOrders = Effect.fnUntraced(function*(world: WorldCalls, { digest, roots }: Asked, engine: EngineLimits) {
  yield* agreed(world, digest)
  if (world.rank > 0) yield* assist(world, { is: "ordered", roots }, engineFor(engine))
})

/**
 * Agree with the other processes on what is written, and do a share of it. `planned`: the share of a process that has a plan of its own.
 *
 * @returns whether the first process has to write down what the others do
 */
const together = <R extends { readonly notes: ReadonlyArray<string> }>(world: WorldCalls, c: Production<R>, engine: EngineLimits, planned: Effect.Effect<void, JobError, Disk>) =>
  Effect.gen(function*() {
    const { asked } = c
    const way = asked === undefined || (yield* EachPlans) ? "planned" : yield* wayOfAll(world, canOrder(c, asked.roots) ? "ordered" : "planned")
    yield* (way === "planned" ? planned : byOrders(world, asked!, engine))
    return way === "ordered"
  })

/**
 * Take part in a conversion that the first process of the job plans. `otherwise`: the same work with a plan of one's own, for what cannot
 * be written down.
 */
export const contribute = (asked: Asked, options: EngineLimits, otherwise: Effect.Effect<unknown, JobError, Disk>): Effect.Effect<void, JobError, Disk> =>
  recordingIo(() => Effect.gen(function*() {
    const world = yield* currentWorld
    const disk = withoutDirectorySync(yield* Disk, () => {})
    const way = yield* wayOfAll(world)
    if (way === "planned") yield* Effect.provideService(otherwise, EachPlans, true)
    else yield* byOrders(world, asked, limitsOf({ ...farAway(...Object.values(asked.roots)), ...options })).pipe(Effect.provideService(Disk, disk))
  }))

/** Folders of the files, within that of the conversion. */
const foldersOf = ({ files }: Payload): ReadonlySet<string> =>
  new Set(files.flatMap(({ name }) => (name.includes("/") ? [name.slice(0, name.lastIndexOf("/"))] : [])))

const isInTheWay = (error: BridgeError): error is OutputRefused => error instanceof OutputRefused && error.code === "output/exists"

const madeFromOthers = ({ code, hint, path, problem }: OutputRefused, file: string): OutputRefused =>
  new OutputRefused({ path, code, problem: `${problem}; the sources give another ${quote(file)} than the one there`, ...(hint === undefined ? {} : { hint }) })

const summaryOf = ({ fileSystem, known, side, used, ways }: ObservedIo): IoSummary => ({
  side,
  fileSystem: fileSystem.shown,
  ...wayOf(used),
  known,
  seen: ways.map((way) => ({ ...wayOf(way), bytes: way.bytes, bytesPerSecond: Math.round(way.rate) }))
})

const wayOf = ({ direct, inFlight }: ObservedIo["used"]): IoWay => ({ way: direct ? "direct" : "buffered", inFlight })

/** Put the counted value changes beside the dtype changes that caused them, and how files were read and written. */
export const withCounts = (report: ConversionReport) => (changed?: ReadonlyMap<string, number>, io: ReadonlyArray<ObservedIo> = []): ConversionReport =>
  changed === undefined ? report : {
    ...report,
    ...(io.length > 0 ? { io: io.map(summaryOf) } : {}),
    dtypeChanges: report.dtypeChanges.map((c) => ({
      ...c,
      changedElements: (c.storedAs ?? [c.tensor]).reduce((sum, id) => sum + (changed.get(id) ?? 0), 0)
    }))
  }
