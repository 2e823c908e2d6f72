/**
 * One conversion by several processes: the first publishes, every one reads and writes its own share of the bytes. The first has planned
 * it and writes down what each unit of work is (orders/); where that cannot be written down, all of them have planned it. What they say to
 * each other are digests and paths; what each has written stands in its journal beside the files.
 */
import { Effect } from "effect"
import { dirname, join } from "node:path"
import { z } from "zod"
import { seenSchema } from "../checkpoint/StorageSums.ts"
import { WHILE_ALL_LIVE } from "../cluster/limits.ts"
import { worldProgress } from "../cluster/progress.ts"
import { eachUnit, underWorld, World, type WorldCalls } from "../cluster/World.ts"
import { ordersPlaceSchema } from "../cluster/WorkOrders.ts"
import { closeSeals, execute, type ExecuteOptions, type OpenWindow, type TargetFile } from "../engine/index.ts"
import { type JobError, ClusterError, quote } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { OtherStore, storeInUse } from "../remote/storeInUse.ts"
import { hasErrno } from "../store/present.ts"
import type { Fingerprint } from "../publish/journal/Fingerprint.ts"
import { Journal, readJournal, readReported } from "../publish/journal/Journal.ts"
import type { DiskPublication } from "../publish/DiskPublication.ts"
import { lostSource } from "../publish/sources.ts"
import { JOURNAL, journalOf } from "../publish/staging/names.ts"
import type { SourceRoots } from "./orders/sources.ts"
import { type Ordering, type Payload, readBack, type UnitsToWrite, writeDown } from "./orders/written.ts"
import { diskOf, markFolder, requireFolder } from "./stagingFolder.ts"
import { unitsOf } from "./units.ts"

const sizesSchema = z.object({ block: z.int(), wide: z.int(), read: z.int(), work: z.int(), cell: z.int() })
/** What the first process tells the others to do. `folder`: the staging folder. */
const taskSchema = z.discriminatedUnion("is", [
  z.object({ is: z.literal("nothing") }),
  z.object({
    is: z.literal("write"), directory: z.string(), folder: z.string(), run: z.string().regex(/^[0-9a-f]{8}$/), sizes: sizesSchema, resumed: z.boolean(),
    /** Those that others need not write; links and clones of files that stay as they are. */
    without: z.array(z.string()),
    /** What they write; absent where each has planned it. */
    orders: ordersPlaceSchema.optional()
  })
])
type Task = z.infer<typeof taskSchema>

type WriteOptions = Pick<ExecuteOptions, "earlier" | "onWindow" | "progress" | "concurrency" | "io" | "maxMemory" | "sizes" | "threads">

/** What is known of a unit when it is written. */
interface UnitDone {
  readonly unit: number
  /** Elements that changed value, of the arrays in which some did. */
  readonly changed: ReadonlyMap<string, number>
}

const unitsToWrite = (world: WorldCalls, { files, layoutRanks, states, sums }: Payload): UnitsToWrite => {
  const units = unitsOf(files, world.size, layoutRanks)
  return { units, states, sums, seen: () => sums?.seen() ?? [], work: (unit) => Effect.succeed({ files, portion: units[unit]!.portion }) }
}

/**
 * Write units until none is left; what is read is held against the sums. `written`: called when a unit is in its files.
 *
 * @returns at the first process: the rank that wrote each unit, once all are written and nobody writes any more
 */
const write = (world: WorldCalls, directory: string, { states, sums, units, work: workIn }: UnitsToWrite, options: WriteOptions, written: (done: UnitDone) => Promise<void>) =>
  Effect.gen(function*() {
    const work = world.work("write", units.map((unit) => unit.bytes), z.int(), units.map((unit) => unit.owner))
    const store = yield* storeInUse
    const all = eachUnit(work, (unit) => Effect.gen(function*() {
      const changed = new Map<string, number>()
      const { files, portion } = yield* workIn(unit)
      yield* execute(files, directory, {
        ...options,
        portion,
        onArray: (id, done) => { if (done.changed > 0) changed.set(id, (changed.get(id) ?? 0) + done.changed) }
      })
      yield* attempt(() => written({ unit, changed }))
      return world.rank
    }))
    yield* (sums ? all.pipe(Effect.provideService(OtherStore, sums.watch(store))) : all).pipe(
      Effect.mapError((error) => lostSource(error, states) ?? error)
    )
    return yield* work.results()
  })

/** All processes mean the same conversion. ClusterError `launch/plan`. */
export const agreed = (world: WorldCalls, digest: string) => world.agree("the plan of the conversion", digest)

/** The target is there: no process ends before that. */
export const published = (world: WorldCalls) => world.barrier("published", { timeout: WHILE_ALL_LIVE })

/** The first process has nothing to write, so neither have the others. */
export const callOff = (world: WorldCalls) => Effect.asVoid(world.broadcast<Task>("what to write", taskSchema, { is: "nothing" }))

/** What a process that takes part knows of the conversion without the first one. */
export type Assistant =
  /** It has planned it as well. */
  | { readonly is: "planned"; readonly job: Fingerprint; readonly payload: Payload }
  | { readonly is: "ordered"; readonly roots: SourceRoots }

/**
 * The others: write what the first one deals out, until it has published.
 *
 * @returns false if there was nothing to write.
 */
export const assist = (world: WorldCalls, assistant: Assistant, engine: WriteOptions): Effect.Effect<boolean, JobError, Disk> =>
  underWorld(Effect.gen(function*() {
    const task = yield* world.broadcast<Task>("what to write", taskSchema, undefined)
    if (task.is === "nothing") return false
    const { directory, folder, resumed, run, sizes } = task
    const disk = yield* diskOf(world, folder)
    yield* requireFolder(disk, folder, run)
    const { job, own } = yield* (assistant.is === "planned" ? Effect.sync(() => plannedTask(world, assistant, task.without)) : orderedTask(disk, assistant.roots, task))
    const path = join(folder, journalOf(run, world.rank))
    const earlier = resumed ? yield* attempt(() => readJournal(disk, join(folder, JOURNAL))) : undefined
    yield* Effect.acquireUseRelease(
      attempt(() => Journal.create(disk, path, job, sizes.block)),
      (journal) => write(world, directory, own, {
        ...engine,
        sizes,
        progress: world.progress,
        ...(earlier ? { earlier } : {}),
        onWindow: (file, window) => journal.report(file, window)
      }, async ({ changed, unit }) => {
        journal.conclude({ unit, changed: [...changed], seen: own.seen() } satisfies z.infer<typeof closingSchema>)
        await journal.flush()
      }).pipe(Effect.provideService(Disk, disk)),
      (journal) => Effect.promise(() => journal.close().catch(() => {}))
    )
    yield* published(world)
    return true
  })).pipe(Effect.provideService(World, world))

const plannedTask = (world: WorldCalls, { job, payload }: Extract<Assistant, { is: "planned" }>, without: ReadonlyArray<string>) => {
  const names = new Set(without)
  return { job, own: unitsToWrite(world, { ...payload, files: payload.files.filter((file) => !names.has(file.name)) }) }
}

const orderedTask = Effect.fnUntraced(function*(disk: DiskCalls, roots: SourceRoots, { folder, orders: place }: Extract<Task, { is: "write" }>) {
  if (place === undefined) return yield* new ClusterError({ code: "cluster/protocol", problem: "rank 0 has written no work orders" })
  return yield* readBack(disk, folder, place, roots)
})

/** The files in their full size, so that everybody can write anywhere in them. */
const createFiles = async (disk: DiskCalls, directory: string, files: ReadonlyArray<TargetFile>): Promise<void> => {
  for (const { name, size } of files) {
    const path = join(directory, name)
    const file = await disk.open(path, "create").catch((error: unknown) => {
      if (hasErrno(error, "EEXIST")) return disk.open(path, "readwrite")
      throw error
    })
    try {
      await file.truncate(size)
    } finally {
      await file.close()
    }
  }
  await disk.syncDirectory(directory)
}

/** What a process says of a unit that it has written. */
const closingSchema = z.object({
  unit: z.int().nonnegative(),
  /** Elements that changed value, per array. */
  changed: z.array(z.tuple([z.string(), z.int().nonnegative()])),
  seen: seenSchema
})

/**
 * The first process: deal out the work, take part in it, put together what all have written. Afterwards the files are whole, durable
 * and recorded.
 *
 * @param all the files of the plan, also those that need not be written.
 * @param ordering the others have not planned.
 * @returns elements that changed value, per array in which some did.
 */
export const stageTogether = (
  world: WorldCalls,
  publication: DiskPublication,
  payload: Payload,
  all: ReadonlyArray<TargetFile>,
  progress?: (bytes: number) => void,
  ordering?: Ordering
): Effect.Effect<ReadonlyMap<string, number>, JobError, Disk> =>
  underWorld(Effect.gen(function*() {
    const disk = yield* Disk
    const { files, states, sums } = payload
    publication.shares.push({ files, states })
    const { directory, execution } = publication
    const { settings } = publication
    yield* attempt(() => createFiles(disk, directory, files))
    const folder = dirname(publication.staged.directory)
    const byName = new Map(files.map((file) => [file.name, file]))
    const run = crypto.randomUUID().slice(0, 8)
    yield* attempt(() => markFolder(disk, folder, run))
    const orders = ordering && (yield* writeDown({ disk, folder, run, processes: world.size, cell: settings.sizes.cell }, payload, ordering))
    yield* world.broadcast<Task>("what to write", taskSchema, {
      is: "write", directory, folder, run, sizes: settings.sizes, resumed: execution.earlier !== undefined,
      without: all.map((f) => f.name).filter((name) => !byName.has(name)),
      ...(orders ? { orders: orders.place } : {})
    })
    const changed = new Map<string, number>()
    const add = (more: Iterable<readonly [id: string, count: number]>): void => { for (const [id, count] of more) changed.set(id, (changed.get(id) ?? 0) + count) }
    const open: Array<OpenWindow> = []
    const seen = new Set<string>()
    const fileOf = (name: string): TargetFile => {
      const file = byName.get(name)
      if (file === undefined) throw wrongReport(`names ${quote(name)}, which is not of this conversion`)
      return file
    }
    const isNew = (name: string, position: number): boolean => {
      const key = `${position} ${name}`
      return !seen.has(key) && seen.add(key) !== undefined
    }
    const own = new Map<number, UnitDone["changed"]>()
    const writers = (yield* worldProgress(world, progress, (done) => write(world, directory, unitsToWrite(world, payload), {
      ...execution,
      progress: done,
      sizes: settings.sizes,
      onWindow: (name, window) => {
        if (!isNew(name, window.position)) return
        execution.onWindow?.(name, window)
        if (window.open.length > 0) open.push({ file: fileOf(name), window })
      }
    }, async ({ changed, unit }) => { own.set(unit, changed) }))) ?? []
    for (const [unit, rank] of writers.entries()) if (rank === 0) add(own.get(unit) ?? [])
    const patient = yield* diskOf(world, folder)
    for (const rank of new Set(writers.filter((writer) => writer > 0))) {
      const path = join(folder, journalOf(run, rank))
      const reported = yield* attempt(() => readReported(patient, path))
      yield* attempt(() => {
        for (const [name, window] of reported.windows) {
          if (!isNew(name, window.position)) continue
          publication.takeOver(name, window)
          if (window.open.length > 0) open.push({ file: fileOf(name), window })
        }
        const closings = reported.closing.map((value) => closingSchema.parse(value))
        for (const [unit, writer] of writers.entries()) {
          if (writer !== rank) continue
          const closing = closings.find((one) => one.unit === unit)
          if (closing === undefined) throw wrongReport(`of rank ${rank} in ${quote(path)} lacks a unit`)
          add(closing.changed)
        }
        const seen = closings.at(-1)?.seen ?? []
        sums?.absorb(orders ? seen.map((file) => ({ ...file, path: orders.paths[Number(file.path)] ?? file.path })) : seen)
      })
    }
    yield* attempt(async () => {
      const closed = await closeSeals(disk, (name) => join(directory, name), open, (name, { end, start }) => publication.recorder.crcOf(name, start, end))
      for (const { file, sealed, window } of closed) publication.seal(file.name, window, sealed)
      for (const { name, size } of files) {
        const path = join(directory, name)
        if (publication.recorder.size(name) !== size) throw wrongReport(`has ${publication.recorder.size(name)} of the ${size} bytes of ${quote(name)}`)
        await trim(disk, path, size)
        publication.execution.onFile?.(name, await disk.lstat(path))
      }
    })
    return changed
  })).pipe(Effect.provideService(World, world))

/** What the processes say that they have written is not the whole. */
const wrongReport = (how: string): ClusterError => new ClusterError({ code: "cluster/report", problem: `what was reported as written ${how}` })

/** The last page may have been written whole. */
const trim = async (disk: DiskCalls, path: string, size: number): Promise<void> => {
  const file = await disk.open(path, "readwrite")
  try {
    if ((await file.info()).size !== size) await file.truncate(size)
    await file.sync()
  } finally {
    await file.close()
  }
}
