/**
 * One conversion by several processes: all of them have planned it, the first publishes, every one reads and writes its own share of the
 * bytes. What they say to each other are digests and paths; what each has written stands in its journal beside the files.
 */
import { Effect } from "effect"
import { dirname, join } from "node:path"
import { z } from "zod"
import { type StorageSums, seenSchema } from "../checkpoint/StorageSums.ts"
import { tellingProgress } from "../cluster/progress.ts"
import { eachUnit, underWorld, type Work, World, type WorldCalls } from "../cluster/World.ts"
import { closeSeals, execute, type ExecuteOptions, type OpenWindow, type TargetFile } from "../engine/index.ts"
import { type BridgeError, ClusterError, quote } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { OtherStore, storeInUse } from "../io/storeInUse.ts"
import { hasErrno } from "../store/present.ts"
import { contentOf, type Fingerprint } from "../publish/journal/Fingerprint.ts"
import { Journal, readJournal, readReported } from "../publish/journal/Journal.ts"
import type { Publication } from "../publish/Publication.ts"
import { lostSource, type SourceState } from "../publish/sources.ts"
import { JOURNAL, journalOf } from "../publish/staging/names.ts"
import { unitsOf } from "./units.ts"

/** What all of them write. */
export interface Payload {
  readonly files: ReadonlyArray<TargetFile>
  /** The files that are read, as they were when the conversion was planned. */
  readonly states: ReadonlyArray<SourceState>
  /** Held against what is read. */
  readonly sums?: StorageSums | undefined
  /** The rank that writes a file, for a world that is as large as the layout. */
  readonly owners?: { readonly ranks: number; readonly of: (file: string) => number } | undefined
}

const sizesSchema = z.object({ block: z.int(), wide: z.int(), read: z.int(), work: z.int(), cell: z.int() })
/** What the first process tells the others to do. `folder`: the staging folder. */
const orderSchema = z.discriminatedUnion("is", [
  z.object({ is: z.literal("nothing") }),
  z.object({
    is: z.literal("write"), directory: z.string(), folder: z.string(), run: z.string().regex(/^[0-9a-f]{8}$/), sizes: sizesSchema, resumed: z.boolean(),
    /** Those that others need not write; links and clones of files that stay as they are. */
    without: z.array(z.string())
  })
])
type Order = z.infer<typeof orderSchema>

const work = (world: WorldCalls, { files, owners }: Payload) => {
  const units = unitsOf(files, world.size, owners?.ranks === world.size ? owners.of : undefined)
  return {
    units,
    work: world.work("write", units.map((unit) => unit.bytes), z.null(), units.map((unit) => unit.owner)) as Work<null>
  }
}

type WriteOptions = Pick<ExecuteOptions, "earlier" | "onArray" | "onWindow" | "concurrency" | "io" | "maxMemory" | "sizes" | "threads">

/** Write units until none is left; what is read is held against the sums. */
const write = (world: WorldCalls, directory: string, payload: Payload, options: WriteOptions) =>
  Effect.gen(function*() {
    const { files, states, sums } = payload
    const { units, work: dealt } = work(world, payload)
    const store = yield* storeInUse
    const all = eachUnit(dealt, (unit) =>
      execute(files, directory, { ...options, portion: units[unit]!.portion, progress: world.progress }).pipe(Effect.as(null)))
    yield* (sums ? all.pipe(Effect.provideService(OtherStore, sums.watch(store))) : all).pipe(
      Effect.mapError((error) => lostSource(error, states) ?? error)
    )
    return dealt
  })

/** All processes have planned the same. ClusterError `launch/plan`. */
export const agreed = (world: WorldCalls, job: Fingerprint) => world.agree("the plan of the conversion", contentOf(job))

/** The first process has nothing to write: the others are done as well. */
export const callOff = (world: WorldCalls) => Effect.asVoid(world.broadcast<Order>("what to write", orderSchema, { is: "nothing" }))

/**
 * The others: write what the first one deals out, until it has published.
 *
 * @returns false if there was nothing to write.
 */
export const assist = (world: WorldCalls, job: Fingerprint, payload: Payload, engine: WriteOptions): Effect.Effect<boolean, BridgeError, Disk> =>
  underWorld(Effect.gen(function*() {
    const disk = yield* Disk
    const order = yield* world.broadcast<Order>("what to write", orderSchema, undefined)
    if (order.is === "nothing") return false
    const { directory, folder, resumed, run, sizes } = order
    const without = new Set(order.without)
    const own = { ...payload, files: payload.files.filter((file) => !without.has(file.name)) }
    const path = join(folder, journalOf(run, world.rank))
    const earlier = resumed ? yield* attempt(() => readJournal(disk, join(folder, JOURNAL))) : undefined
    const changed = new Map<string, number>()
    yield* Effect.acquireUseRelease(
      attempt(() => Journal.create(disk, path, job, sizes.block)),
      (journal) => Effect.gen(function*() {
        const dealt = yield* write(world, directory, own, {
          ...engine,
          sizes,
          ...(earlier ? { earlier } : {}),
          onArray: (id, done) => { if (done.changed > 0) changed.set(id, (changed.get(id) ?? 0) + done.changed) },
          onWindow: (file, window) => journal.report(file, window)
        })
        journal.conclude({ changed: [...changed], seen: payload.sums?.seen() ?? [] } satisfies z.infer<typeof closingSchema>)
        yield* attempt(() => journal.close(true))
        yield* world.gather("what was written", z.null(), null)
        yield* dealt.results()
      }),
      (journal) => Effect.promise(() => journal.close().catch(() => {}))
    )
    yield* world.barrier("published")
    return true
  })).pipe(Effect.provideService(World, world))

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

const closingSchema = z.object({
  /** Elements that changed value, per array. */
  changed: z.array(z.tuple([z.string(), z.int().nonnegative()])),
  seen: seenSchema
})

/**
 * The first process: deal out the work, take part in it, put together what all have written. Afterwards the files are whole, durable
 * and recorded.
 *
 * @param all the files of the plan, also those that need not be written.
 * @returns elements that changed value, per array in which some did.
 */
export const stageTogether = (
  world: WorldCalls,
  publication: Publication,
  payload: Payload,
  all: ReadonlyArray<TargetFile>,
  progress: (bytes: number) => void = () => {}
): Effect.Effect<ReadonlyMap<string, number>, BridgeError, Disk> =>
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
    const order: Order = { is: "write", directory, folder, run, sizes: settings.sizes, resumed: execution.earlier !== undefined, without: all.map((f) => f.name).filter((name) => !byName.has(name)) }
    yield* world.broadcast<Order>("what to write", orderSchema, order)
    const changed = new Map<string, number>()
    const add = (id: string, count: number): void => { if (count > 0) changed.set(id, (changed.get(id) ?? 0) + count) }
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
    yield* tellingProgress(world, progress, Effect.gen(function*() {
      const dealt = yield* write(world, directory, payload, {
        ...execution,
        sizes: settings.sizes,
        onArray: (id, done) => add(id, done.changed),
        onWindow: (name, window) => {
          if (!isNew(name, window.position)) return
          execution.onWindow?.(name, window)
          if (window.open.length > 0) open.push({ file: fileOf(name), window })
        }
      })
      yield* dealt.results()
      yield* world.gather("what was written", z.null(), null)
    }))
    for (let rank = 1; rank < world.size; rank++) {
      const path = join(folder, journalOf(run, rank))
      const reported = yield* attempt(() => readReported(disk, path))
      yield* attempt(() => {
        for (const [name, window] of reported.windows) {
          if (!isNew(name, window.position)) continue
          publication.takeOver(name, window)
          if (window.open.length > 0) open.push({ file: fileOf(name), window })
        }
        const closing = reported.closing.map((value) => closingSchema.parse(value)).at(-1)
        if (closing === undefined) throw wrongReport(`of rank ${rank} in ${quote(path)} does not end`)
        for (const [id, count] of closing.changed) add(id, count)
        sums?.absorb(closing.seen)
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
