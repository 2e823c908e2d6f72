/** Arrays packed into blocks one after the other: small ones share a block, large ones take many. */
import { roundUp } from "./Arena.ts"
import type { ArrayRange } from "./Fill.ts"
import type { SlotSizes } from "./Slot.ts"
import { spanOf } from "./span.ts"

/** Arrays begin at multiples of this, so that kernels find them aligned. */
const ALIGNMENT = 64

export interface ArrayPart<Item> extends ArrayRange {
  readonly item: Item
  /** It ends its array. */
  readonly last: boolean
}

export interface Packable {
  readonly pieces: ArrayRange["pieces"]
}

export interface ArrayBlock<Item> {
  /** Bytes. */
  readonly size: number
  readonly parts: ReadonlyArray<ArrayPart<Item>>
}

/** Blocks with the parts of the items in order. Arrays without elements have one empty part. `undivided`: an array that fits a block is in one. */
export const arrayBlocks = function*<Item extends Packable>(
  items: Iterable<Item>,
  { block, wide }: SlotSizes,
  gap: number,
  undivided = false
): Generator<ArrayBlock<Item>> {
  let parts: Array<ArrayPart<Item>> = []
  let at = 0
  const flush = (): ArrayBlock<Item> => {
    const full = { size: at, parts }
    parts = []
    at = 0
    return full
  }
  for (const item of items) {
    const { elements, width } = item.pieces
    const length = elements * width
    let start = 0
    if (undivided && parts.length > 0 && length <= block && at + length > block) yield flush()
    do {
      const rest = Math.min(block, length - start)
      const wanted = spanOf(item.pieces, start, rest, wide, gap)
      // An array with a measure of its own does not share its block.
      const own = wanted !== rest
      if (parts.length > 0 && (own || at + width > block)) yield flush()
      const room = Math.max(width, Math.floor((own ? wanted : block - at) / width) * width)
      const end = Math.min(length, start + room)
      parts.push({ item, pieces: item.pieces, start, end, at, last: end === length })
      at = roundUp(at + end - start, ALIGNMENT)
      start = end
      if (own) yield flush()
    } while (start < length)
  }
  if (parts.length > 0) yield flush()
}
