/**
 * Filling a block of memory with parts of arrays: plan the reads of all parts, merge small neighbours, read into scratch (or
 * straight into the block where bytes travel as they are), then move or compute into place.
 */
import type { ElementSums } from "../../arithmetic/matrixSums.ts"
import { volume } from "../../tensor/Copy.ts"
import type { Memory } from "../../tensor/kernels/Memory.ts"
import { PAGE, type AddressRange, roundDown, roundUp } from "./Arena.ts"
import type { Slot } from "./Slot.ts"
import { isContiguous, type Placing, type WorkRoom } from "./placeCopy.ts"
import { divide, hullOf, type ClippedCopy, type Pieces, type ReadBounds } from "./Pieces.ts"
import type { SourceFiles } from "./SourceFiles.ts"
import type { SourceArray } from "./Target.ts"
import type { Workers } from "./Workers.ts"

/** The bytes [start, end) of an array, to lie `at` bytes into a block. */
export interface ArrayRange {
  readonly pieces: Pieces
  readonly start: number
  readonly end: number
  readonly at: number
}

export interface FillContext {
  readonly memory: Memory
  readonly files: SourceFiles
  readonly workers: Workers
  /** Unwanted bytes up to this many are read along: a further call costs more. */
  readonly gap: number
  /** What needs no scratch is read in one call, however long it is. */
  readonly far: boolean
}

/** A block that reads this many times its bytes reads what its neighbours read too: better from the page cache. */
const REPEATED = 2.5

/** Reads at least this large are worth a call of their own, straight into the block. */
const LARGE_READ = 128 * 1024

/** A piece with the byte address that its target offset counts from. */
interface Job {
  readonly piece: ClippedCopy
  readonly base: number
  /** Bytes of a target element. */
  readonly width: number
  readonly part: ArrayRange
  /** Its changed values are counted here, not with another part. */
  readonly counts: boolean
}

/** Bytes that lie in the block as they lie in the file, wherever elements begin. */
interface Run {
  readonly part: ArrayRange
  readonly array: SourceArray
  /** In bytes from the array's first one. */
  readonly offset: number
  /** Address. */
  readonly at: number
  length: number
}

/** A range of a file and the jobs that take from it; more than one range only for a job with operands. */
interface Group {
  readonly ranges: Array<{ readonly path: string; readonly start: number; end: number }>
  readonly jobs: Array<Job>
}

/** Elements that the edges of a part cut through, made whole elsewhere (at `whole`) first. */
interface SplitElement {
  readonly part: ArrayRange
  readonly element: number
  readonly whole: number
  readonly from: number
  readonly to: number
  readonly length: number
}

const WIDEST = 16

/**
 * Fill the parts into `block`. Returns for each part how many elements changed value (an element cut by the part's start
 * counts with the part before).
 */
export const fill = async (
  context: FillContext,
  parts: ReadonlyArray<ArrayRange>,
  block: number,
  slot: Slot
): Promise<ReadonlyArray<number>> => {
  const bounds = { largest: slot.largestRead, gap: context.gap }
  const { jobs, split, work } = planned(parts, block, slot, bounds, context.far)
  const apart = grouped(jobs, bounds, !context.far)
  const bytes = bytesOf(apart)
  const paths = new Set(apart.flatMap((g) => g.ranges.map((r) => r.path)))
  const reading = await context.files.begin(paths, bytes, bytes > REPEATED * parts.reduce((sum, part) => sum + part.end - part.start, 0))
  // Past the page cache everything goes through scratch, and every call waits for the disk.
  const groups = reading.direct.size === 0 || context.far ? apart : grouped(jobs, bounds, false)
  const changed = await readAndPlace(context, groups, slot, work, reading.direct).finally(reading.end)
  const adjusting = [...parts.flatMap((part) => wholeElements(part, block)), ...split.map(({ element, part, whole }) => ({ part, at: whole, first: element, count: 1 }))]
  await adjust(context, adjusting, work)
  for (const { from, length, to } of split) context.memory.u8.copyWithin(to, from, from + length)
  return parts.map((part) => changed.get(part) ?? 0)
}

/** What is to be put where, and the room that is left to compute in. */
const planned = (parts: ReadonlyArray<ArrayRange>, block: number, slot: Slot, bounds: ReadBounds, far: boolean) => {
  const jobs: Array<Job> = []
  const runs: Array<Run> = []
  const split: Array<SplitElement> = []
  let splitAt = slot.work
  for (const part of parts) {
    const { pieces: { array: { adjust }, width }, end, start } = part
    const address = block + part.at
    const run = (piece: ClippedCopy, base: number, skip: number, length: number): void => {
      const offset = piece.views[0]!.offset * width + skip
      const at = base + piece.target.offset * width + skip
      const last = runs.at(-1)
      const { array } = piece.origins[0]!
      if (last?.part === part && last.array === array && last.offset + last.length === offset && last.at + last.length === at) last.length += length
      else runs.push({ part, array, offset, at, length })
    }
    const add = (from: number, to: number, base: number, counts: boolean) => {
      for (const whole of part.pieces.within(from, to)) {
        if (isStraight(whole)) run(whole, base, 0, volume(whole.shape) * width)
        else for (const piece of divide(whole, bounds)) jobs.push({ piece, base, width, part, counts })
      }
    }
    const first = Math.ceil(start / width)
    const last = Math.floor(end / width)
    const cut = (element: number) => {
      const from = Math.max(start, element * width)
      const [skip, length] = [from - element * width, Math.min(end, (element + 1) * width) - from]
      const [piece] = part.pieces.within(element, element + 1)
      // What is neither computed nor changed afterwards may come in parts.
      if (piece && isStraight(piece) && !adjust) return run(piece, address + element * width - start, skip, length)
      add(element, element + 1, splitAt, element * width >= start)
      split.push({ part, element, whole: splitAt, from: splitAt + skip, to: address + from - start, length })
      splitAt += WIDEST
    }
    if (first * width > start) cut(first - 1)
    if (last > first) add(first, last, address + first * width - start, true)
    if (last * width < end && last >= first) cut(last)
  }
  for (const run of runs) jobs.push(...(far ? [jobOf(run)] : dividedRun(run, bounds.largest)))
  return { jobs, split, work: { work: roundUp(splitAt, 64), workEnd: slot.workEnd } }
}

const dividedRun = function*(run: Run, largest: number): Generator<Job> {
  for (let done = 0; done < run.length; done += largest) {
    yield jobOf({ ...run, offset: run.offset + done, at: run.at + done, length: Math.min(largest, run.length - done) })
  }
}

/** A run as a copy of bytes. */
const jobOf = ({ array, at, length, offset, part }: Run): Job => ({
  piece: { shape: [length], views: [{ offset, strides: [1] }], origins: [{ array, width: 1 }], target: { offset: 0, strides: [1] }, step: "move" },
  base: at,
  width: 1,
  part,
  counts: false
})

/** Elements that changed value, of each part in which some did. */
const readAndPlace = async (
  context: FillContext,
  groups: ReadonlyArray<Group>,
  { scratch }: Slot,
  work: WorkRoom,
  direct: ReadonlySet<string>
): Promise<ReadonlyMap<ArrayRange, number>> => {
  const changed = new Map<ArrayRange, number>()
  const run = async (group: Group, room: AddressRange | undefined) => {
    const [only] = group.jobs
    if (room === undefined) return readStraight(context, only!)
    const addresses = await readGroup(context, group, room, direct)
    const counts = await context.workers.place(group.jobs.map((job) => placingOf(job, group, addresses)), work)
    for (const [i, { counts: own, part }] of group.jobs.entries()) {
      const n = counts[i]!
      if (n > 0 && own) changed.set(part, (changed.get(part) ?? 0) + n)
    }
  }
  const failures: Array<unknown> = []
  const tasks: Array<Promise<void>> = []
  for (const group of groups) {
    const straight = group.jobs.length === 1 && !direct.has(group.ranges[0]!.path) && isStraight(group.jobs[0]!.piece)
    const room = straight ? undefined : await scratch.take(group.ranges.reduce((sum, range) => sum + pagesOf(range), 0))
    if (failures.length > 0) break
    tasks.push(run(group, room).catch((error) => void failures.push(error)).finally(() => room && scratch.release(room)))
  }
  await Promise.all(tasks)
  if (failures.length > 0) throw failures[0]
  return changed
}

/** Whole elements of a part in memory. */
interface PlacedElements {
  readonly part: ArrayRange
  readonly at: number
  readonly first: number
  readonly count: number
}

/** The elements of a part that it does not cut. */
const wholeElements = (part: ArrayRange, block: number): ReadonlyArray<PlacedElements> => {
  const { at, end, pieces: { width }, start } = part
  const [first, last] = [Math.ceil(start / width), Math.floor(end / width)]
  return last > first ? [{ part, at: block + at + first * width - start, first, count: last - first }] : []
}

/** Let arrays change elements. */
const adjust = async ({ memory, workers }: FillContext, elements: ReadonlyArray<PlacedElements>, work: WorkRoom): Promise<void> => {
  const sums: Array<ElementSums> = []
  for (const { at, count, first, part: { pieces: { array, width } } } of elements) {
    array.adjust?.bytes?.(memory.u8.subarray(at, at + count * width), first)
    sums.push(...array.adjust?.sums?.(at, first, count) ?? [])
  }
  if (sums.length > 0) await workers.add(sums, work)
}

const rangeOf = (piece: ClippedCopy, view: number) => {
  const { array, width } = piece.origins[view]!
  const { offset, strides } = piece.views[view]!
  const start = array.offset + offset * width
  return { path: array.path, start: Math.floor(start), end: Math.ceil(start + hullOf(piece.shape, strides) * width) }
}

/** Bytes that lie in the block as they lie in the file. */
const isStraight = (piece: ClippedCopy): boolean =>
  Number.isInteger(piece.origins[0]!.width) && piece.step === "move" && isContiguous(piece.shape, piece.views[0]!.strides) && isContiguous(piece.shape, piece.target.strides)

const readStraight = ({ files, memory }: FillContext, { base, piece, width }: Job): Promise<void> => {
  const { end, path, start } = rangeOf(piece, 0)
  const at = base + piece.target.offset * width
  return files.readInto(path, memory.u8.subarray(at, at + end - start), start)
}

/**
 * Jobs in the order of their source bytes, small neighbours sharing a read. `apart`: but none with a large one that needs no scratch;
 * copying that costs more than a call.
 */
const grouped = (jobs: ReadonlyArray<Job>, bounds: ReadBounds, apart: boolean): ReadonlyArray<Group> => {
  const groups: Array<Group> = []
  const single: Array<{ readonly job: Job; readonly range: ReturnType<typeof rangeOf> }> = []
  for (const job of jobs) {
    if (job.piece.views.length === 1) single.push({ job, range: rangeOf(job.piece, 0) })
    else groups.push({ ranges: job.piece.views.map((_, i) => rangeOf(job.piece, i)), jobs: [job] })
  }
  single.sort((a, b) => a.range.path < b.range.path ? -1 : a.range.path > b.range.path ? 1 : a.range.start - b.range.start)
  let last: Group | undefined
  let lastIsApart = false
  for (const { job, range } of single) {
    const previous = last?.ranges[0]
    const isApart = apart && range.end - range.start >= LARGE_READ && isStraight(job.piece)
    const joins = !isApart && !lastIsApart && previous !== undefined && previous.path === range.path && range.start - previous.end <= bounds.gap &&
      Math.max(range.end, previous.end) - previous.start <= bounds.largest &&
      (range.start < previous.end || range.end - range.start < LARGE_READ || previous.end - previous.start < LARGE_READ)
    if (joins) {
      previous.end = Math.max(previous.end, range.end)
      last!.jobs.push(job)
    } else {
      groups.push(last = { ranges: [range], jobs: [job] })
      lastIsApart = isApart
    }
  }
  return groups
}

const pagesOf = ({ end, start }: { readonly start: number; readonly end: number }): number => roundUp(end, PAGE) - roundDown(start, PAGE)

/** What the groups read. */
const bytesOf = (groups: ReadonlyArray<Group>): number =>
  groups.reduce((sum, group) => group.ranges.reduce((inner, range) => inner + range.end - range.start, sum), 0)

/** Read the ranges of a group into `room`; returns the addresses of their first pages. */
const readGroup = async (
  { files, memory }: FillContext,
  group: Group,
  room: AddressRange,
  direct: ReadonlySet<string>
): Promise<ReadonlyArray<number>> => {
  let at = room.start
  const addresses = group.ranges.map((range) => (at += pagesOf(range)) - pagesOf(range))
  const calls = group.ranges.map((range, i) => {
    const into = memory.u8.subarray(addresses[i]!, addresses[i]! + pagesOf(range))
    return files.read(range.path, range.start, range.end, into, direct.has(range.path))
  })
  // All of them, even if one fails: memory must not be reused while a call still writes into it.
  for (const result of await Promise.allSettled(calls)) if (result.status === "rejected") throw result.reason
  return addresses
}

const placingOf = ({ base, piece, width }: Job, group: Group, addresses: ReadonlyArray<number>): Placing => {
  return {
    shape: piece.shape,
    step: piece.step,
    // A merged group has one range; a job with operands has one per view.
    from: piece.views.map((view, i) => {
      const { array, width } = piece.origins[i]!
      return { at: addresses[i]! + array.offset + view.offset * width - roundDown(group.ranges[i]!.start, PAGE), strides: view.strides, width }
    }),
    to: { at: base + piece.target.offset * width, strides: piece.target.strides, width }
  }
}
