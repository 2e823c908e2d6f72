/** The memory one task works in: its block (two, to compare), scratch that reads go through, room for computing. */
import { PAGE, Ranges, roundUp } from "./Arena.ts"

/** Bytes. */
export interface SlotSizes {
  readonly block: number
  /** Blocks of arrays that would otherwise be read again and again (transposes) may grow to this. */
  readonly wide: number
  /** Scratch: what is read and not yet in place. */
  readonly read: number
  readonly work: number
  /** No window reaches over a border of such cells of a file (portion.ts). */
  readonly cell: number
}

/** Addresses in bytes. */
export interface Slot {
  readonly block: number
  readonly scratch: Ranges
  /** No single read is larger. */
  readonly largestRead: number
  readonly work: number
  readonly workEnd: number
}

/** Reads are whole pages, and a piece with operands has several. */
const MOST_VIEWS = 8

/** Reads of a wide block run beside each other within its slot. */
const WIDE_READS = 4

const scratchBytes = (sizes: SlotSizes): number => roundUp(sizes.read, PAGE) + MOST_VIEWS * 2 * PAGE

/** Memory besides the blocks. */
export const overhead = (sizes: SlotSizes): number => scratchBytes(sizes) + roundUp(sizes.work, PAGE)

export const slotBytes = (sizes: SlotSizes, size: number, blocks = 1): number => blocks * roundUp(size, PAGE) + overhead(sizes)

/** A slot for blocks of `size` bytes at an address. */
export const slotAt = (start: number, sizes: SlotSizes, size: number, blocks = 1): Slot => {
  const scratch = start + blocks * roundUp(size, PAGE)
  const work = scratch + scratchBytes(sizes)
  return {
    block: start,
    scratch: new Ranges(scratch, work),
    largestRead: size > sizes.block ? Math.ceil(sizes.read / WIDE_READS) : sizes.read,
    work,
    workEnd: work + roundUp(sizes.work, PAGE)
  }
}
