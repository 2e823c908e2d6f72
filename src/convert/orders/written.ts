/** A conversion written down by the process that has planned it, and read by those that have not. */
import { Effect } from "effect"
import { join } from "node:path"
import { z } from "zod"
import { type SeenStorages, StorageSums } from "../../checkpoint/StorageSums.ts"
import { type OrdersPlace, WorkOrders, writeOrders } from "../../cluster/WorkOrders.ts"
import { atPath } from "../../document/decode.ts"
import { excerptsOf, type Portion, type TargetFile } from "../../engine/index.ts"
import type { JobError } from "../../errors.ts"
import { attempt, meeting } from "../../io/attempt.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import { type Fingerprint, fingerprintSchema } from "../../publish/journal/Fingerprint.ts"
import type { SourceState } from "../../publish/sources.ts"
import { ordersOf } from "../../publish/staging/names.ts"
import { unitsOf } from "../units.ts"
import { canBeOrdered, orderOf, orderSchema, workOf } from "./order.ts"
import { pathOf, placeIn, type PlannedSource, plannedSource, SourceCheck, type SourceRoots, sourceSchema } from "./sources.ts"

/** What all of them write. */
export interface Payload {
  readonly files: ReadonlyArray<TargetFile>
  /** The files that are read, as they were when the conversion was planned. */
  readonly states: ReadonlyArray<SourceState>
  /** Held against what is read. */
  readonly sums?: StorageSums | undefined
  /** Ranks of the layout whose files these are: in a world of as many processes, process r writes the files of rank r. */
  readonly layoutRanks?: number | undefined
  /** The first bytes of files that are read, where they were read to plan. By path. */
  readonly headers?: ReadonlyMap<string, Uint8Array> | undefined
}

/** For a first process that tells the others what to write. */
export interface Ordering {
  readonly job: Fingerprint
  readonly roots: SourceRoots
}

/** The units of a conversion, and what each of them is. */
export interface UnitsToWrite {
  readonly units: ReadonlyArray<{ readonly bytes: number; readonly owner: number }>
  readonly work: (unit: number) => Effect.Effect<{ readonly files: ReadonlyArray<TargetFile>; readonly portion: Portion }, JobError>
  /** The files that are read. */
  readonly states: ReadonlyArray<Pick<SourceState, "path">>
  readonly sums: StorageSums | undefined
  /** What was seen of them, as the first process reads it. */
  readonly seen: () => SeenStorages
}

/** Whether the conversion can be written down for processes that know these directories. */
export const canOrder = ({ files, states }: Payload, roots: SourceRoots): boolean =>
  canBeOrdered(files) && states.every(({ path }) => placeIn(roots, path) !== undefined)

/** Where the orders go. */
export interface OrdersTarget {
  readonly disk: DiskCalls
  readonly folder: string
  readonly run: string
  /** For so many. */
  readonly processes: number
  /** Bytes of a cell. */
  readonly cell: number
}

/** Write down what each unit is. Where: for the others; the paths of the sources, by their indices. */
export const writeDown = Effect.fnUntraced(function*({ cell, disk, folder, processes, run }: OrdersTarget, payload: Payload, { job, roots }: Ordering) {
  const store = yield* storeInUse
  const { files, headers, layoutRanks, states, sums } = payload
  const sources = new Map<string, number>()
  const sourceOf = (path: string): number => {
    const index = sources.get(path) ?? sources.size
    sources.set(path, index)
    return index
  }
  const excerpts = new Map(files.map((file) => [file.name, excerptsOf(file, cell)]))
  const sizeOf = new Map(states.map(({ path, size }) => [path, size]))
  const place = yield* attempt(() => writeOrders(disk, folder, ordersOf(run), unitsOf(files, processes, layoutRanks), ({ portion }) => orderOf({
    files: [...portion].map(([name, ranges]) => excerpts.get(name)!(ranges)),
    portion,
    sourceOf,
    storagesIn: (path, start, end) => sums?.within(path, start, end) ?? []
  }), async () => {
    const planned: Array<PlannedSource> = []
    for (const path of sources.keys()) {
      const [header, size] = [headers?.get(path), sizeOf.get(path)]
      planned.push(await plannedSource(store, roots, path, header && size !== undefined ? { header, size } : undefined))
    }
    return { job, sources: planned } satisfies z.infer<typeof commonSchema>
  }))
  return { place, paths: [...sources.keys()] }
})

/** What the first process tells of all work orders. */
const commonSchema = z.object({ job: fingerprintSchema, sources: z.array(sourceSchema) })

const NO_SUMS: ReadonlyArray<never> = []

/** What the first process has written down. */
export const readBack = Effect.fnUntraced(function*(disk: DiskCalls, folder: string, place: OrdersPlace, roots: SourceRoots) {
  const store = yield* storeInUse
  const path = join(folder, place.name)
  const orders = yield* attempt(() => WorkOrders.open(disk, folder, place, commonSchema))
  const { job, sources } = orders.common
  const placed = yield* attempt(() => sources.map((source) => ({ path: pathOf(roots, source), size: source.size })))
  const check = new SourceCheck(store)
  const sums = new StorageSums(NO_SUMS)
  const indices = new Map(placed.map(({ path: source }, index) => [source, index]))
  const own: UnitsToWrite = {
    units: orders.units,
    states: placed,
    sums,
    seen: () => sums.seen().map((file) => ({ ...file, path: String(indices.get(file.path)) })),
    work: (unit) => Effect.gen(function*() {
      const order = yield* attempt(() => orders.read(unit, orderSchema))
      const { files, portion, sources: used, storages } = yield* attempt(() => atPath(path, () => workOf(order, placed)))
      yield* meeting(async () => { for (const index of used) await check.require(placed[index]!.path, sources[index]!) })
      sums.add(storages)
      return { files, portion }
    })
  }
  return { job, own }
})
