/**
 * Filling a block of memory with parts of arrays: plan the reads of all parts, merge small neighbours, read into scratch (or
 * straight into the block where bytes travel as they are), then move or compute into place.
 */
import { move } from "../tensor/kernels/move.ts"
import type { Memory } from "../tensor/kernels/Memory.ts"
import { PAGE, roundDown, roundUp } from "./Arena.ts"
import { compute, isContiguous } from "./compute.ts"
import { divide, hullOf, type Piece, type Pieces, type ReadBounds } from "./Pieces.ts"
import type { SourceFiles } from "./SourceFiles.ts"

/** The bytes [start, end) of an array, to lie `at` bytes into a block. */
export interface Part {
  readonly pieces: Pieces
  readonly start: number
  readonly end: number
  readonly at: number
}

/** The memory one block task works in; addresses in bytes. */
export interface Lane {
  readonly block: number
  readonly scratch: number
  readonly scratchEnd: number
  readonly work: number
  readonly workEnd: number
}

/** Sizes of the parts of a lane, in bytes. */
export interface LaneSizes {
  readonly block: number
  readonly read: number
  readonly work: number
}

/** Pieces and their operands start in whole pages of their own; a piece has few views. */
const MOST_VIEWS = 8

export const scratchOf = (sizes: LaneSizes): number => roundUp(sizes.read, PAGE) + MOST_VIEWS * 2 * PAGE

export const laneBytes = (sizes: LaneSizes, blocks = 1): number =>
  blocks * roundUp(sizes.block, PAGE) + scratchOf(sizes) + roundUp(sizes.work, PAGE)

export const laneAt = (start: number, sizes: LaneSizes, blocks = 1): Lane => {
  const scratch = start + blocks * roundUp(sizes.block, PAGE)
  const work = scratch + scratchOf(sizes)
  return { block: start, scratch, scratchEnd: work, work, workEnd: work + roundUp(sizes.work, PAGE) }
}

export interface FillContext {
  readonly memory: Memory
  readonly files: SourceFiles
  readonly bounds: ReadBounds
}

/** Unwanted bytes that are read along rather than asking twice. */
export const READ_GAP = 32 * 1024

/** Reads at least this large are worth a call of their own, straight into the block. */
const LARGE_READ = 128 * 1024

/** A piece with the byte address that its target offset counts from. */
interface Job {
  readonly piece: Piece
  readonly base: number
  readonly part: Part
  /** Its changed values are counted here, not with another part. */
  readonly counts: boolean
}

/** A range of a file and the jobs that take from it; more than one range only for a job with operands. */
interface Group {
  readonly ranges: Array<{ readonly path: string; readonly start: number; end: number }>
  readonly jobs: Array<Job>
}

/** Elements that the edges of a part cut through, made whole elsewhere first. */
interface Stray {
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
  parts: ReadonlyArray<Part>,
  block: number,
  lane: Lane
): Promise<ReadonlyArray<number>> => {
  const jobs: Array<Job> = []
  const strays: Array<Stray> = []
  let stray = lane.work
  for (const part of parts) {
    const { pieces: { width }, end, start } = part
    const add = (from: number, to: number, base: number, counts: boolean) => {
      for (const whole of part.pieces.within(from, to)) {
        for (const piece of divide(whole, context.bounds)) jobs.push({ piece, base, part, counts })
      }
    }
    const address = block + part.at
    const first = Math.ceil(start / width)
    const last = Math.floor(end / width)
    const cut = (element: number) => {
      const from = Math.max(start, element * width)
      add(element, element + 1, stray, element * width >= start)
      strays.push({ from: stray + from - element * width, to: address + from - start, length: Math.min(end, (element + 1) * width) - from })
      stray += WIDEST
    }
    if (first * width > start) cut(first - 1)
    if (last > first) add(first, last, address + first * width - start, true)
    if (last * width < end && last >= first) cut(last)
  }
  const changed = new Map<Part, number>()
  const work = { work: roundUp(stray, 64), workEnd: lane.workEnd }
  const groups = grouped(context, jobs)
  const direct = await context.files.direct(new Set(groups.flatMap((group) => group.ranges.map((range) => range.path))))
  for (const batch of batches(groups, lane, direct)) {
    await settled(batch.map(async ([group, addresses]) => {
      const [only] = group.jobs
      if (addresses === undefined) return readStraight(context, only!)
      await settled(group.ranges.map(({ end, path, start }, i) => {
        const room = context.memory.u8.subarray(addresses[i]!, addresses[i]! + roundUp(end, PAGE) - roundDown(start, PAGE))
        return context.files.read(path, start, end, room)
      }))
      for (const job of group.jobs) {
        const n = place(context.memory, job, group, addresses, work)
        if (n > 0 && job.counts) changed.set(job.part, (changed.get(job.part) ?? 0) + n)
      }
    }))
  }
  for (const { from, length, to } of strays) context.memory.u8.copyWithin(to, from, from + length)
  return parts.map((part) => changed.get(part) ?? 0)
}

const rangeOf = (piece: Piece, view: number) => {
  const { array, width } = piece.origins[view]!
  const { offset, strides } = piece.views[view]!
  const start = array.offset + offset * width
  return { path: array.path, start: Math.floor(start), end: Math.ceil(start + hullOf(piece.shape, strides) * width) }
}

const isStraight = ({ piece }: Job): boolean =>
  piece.kernel === "move" && isContiguous(piece.shape, piece.views[0]!.strides) && isContiguous(piece.shape, piece.target.strides)

const readStraight = ({ files, memory }: FillContext, { base, piece }: Job): Promise<void> => {
  const { end, path, start } = rangeOf(piece, 0)
  const at = base + piece.target.offset * piece.origins[0]!.width
  return files.readInto(path, memory.u8.subarray(at, at + end - start), start)
}

/** Jobs in the order of their source bytes, small neighbours sharing a read. */
const grouped = ({ bounds }: FillContext, jobs: ReadonlyArray<Job>): ReadonlyArray<Group> => {
  const groups: Array<Group> = []
  const single: Array<{ readonly job: Job; readonly range: ReturnType<typeof rangeOf> }> = []
  for (const job of jobs) {
    if (job.piece.views.length === 1) single.push({ job, range: rangeOf(job.piece, 0) })
    else groups.push({ ranges: job.piece.views.map((_, i) => rangeOf(job.piece, i)), jobs: [job] })
  }
  single.sort((a, b) => a.range.path < b.range.path ? -1 : a.range.path > b.range.path ? 1 : a.range.start - b.range.start)
  let last: Group | undefined
  for (const { job, range } of single) {
    const previous = last?.ranges[0]
    const joins = previous !== undefined && previous.path === range.path && range.start - previous.end <= bounds.gap &&
      Math.max(range.end, previous.end) - previous.start <= bounds.largest &&
      (range.start < previous.end || range.end - range.start < LARGE_READ || previous.end - previous.start < LARGE_READ)
    if (joins) {
      previous.end = Math.max(previous.end, range.end)
      last!.jobs.push(job)
    } else groups.push(last = { ranges: [range], jobs: [job] })
  }
  return groups
}

/** Groups that fit into the scratch memory together, with the addresses of their ranges; without, if read straight. */
const batches = function*(
  groups: ReadonlyArray<Group>,
  lane: Lane,
  direct: ReadonlySet<string>
): Generator<ReadonlyArray<readonly [Group, ReadonlyArray<number> | undefined]>> {
  let batch: Array<readonly [Group, ReadonlyArray<number> | undefined]> = []
  let at = lane.scratch
  for (const group of groups) {
    if (group.jobs.length === 1 && !direct.has(group.ranges[0]!.path) && isStraight(group.jobs[0]!)) {
      batch.push([group, undefined])
      continue
    }
    const sizes = group.ranges.map(({ end, start }) => roundUp(end, PAGE) - roundDown(start, PAGE))
    const total = sizes.reduce((sum, size) => sum + size, 0)
    if (at + total > lane.scratchEnd) {
      yield batch
      batch = []
      at = lane.scratch
    }
    if (at + total > lane.scratchEnd) throw new RangeError("a read is larger than the scratch memory")
    batch.push([group, sizes.map((size) => (at += size) - size)])
  }
  if (batch.length > 0) yield batch
}

const place = (m: Memory, job: Job, group: Group, addresses: ReadonlyArray<number>, work: { work: number; workEnd: number }): number => {
  const { base, piece } = job
  // A merged group has one range; a job with operands has one per view.
  const at = piece.views.map((view, i) => {
    const { array, width } = piece.origins[i]!
    return addresses[i]! + array.offset + view.offset * width - roundDown(group.ranges[i]!.start, PAGE)
  })
  const width = job.part.pieces.width
  const target = { at: base + piece.target.offset * width, strides: piece.target.strides }
  if (piece.kernel !== "move") return compute(m, piece, piece.kernel, at, { ...target, width }, work)
  move(m, width, piece.shape, { at: at[0]!, strides: piece.views[0]!.strides }, target)
  return 0
}

/** All of them, even if one fails: memory must not be reused while a call still writes into it. */
const settled = async (calls: ReadonlyArray<Promise<void>>): Promise<void> => {
  for (const result of await Promise.allSettled(calls)) if (result.status === "rejected") throw result.reason
}
