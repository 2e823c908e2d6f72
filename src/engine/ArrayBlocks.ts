/** Arrays packed into blocks one after the other: small ones share a block, large ones take many. */
import { roundUp } from "./Arena.ts"
import type { Part } from "./Fill.ts"

/** Arrays begin at multiples of this, so that kernels find them aligned. */
const ALIGNMENT = 64

export interface ArrayPart<Item> extends Part {
  readonly item: Item
  /** It ends its array. */
  readonly last: boolean
}

export interface Packable {
  readonly pieces: Part["pieces"]
}

/** Blocks of at most `blockSize` bytes with the parts of the items in order. Arrays without elements have one empty part. */
export const arrayBlocks = function*<Item extends Packable>(
  items: Iterable<Item>,
  blockSize: number
): Generator<ReadonlyArray<ArrayPart<Item>>> {
  let block: Array<ArrayPart<Item>> = []
  let at = 0
  for (const item of items) {
    const { elements, width } = item.pieces
    const length = elements * width
    let start = 0
    do {
      if (at + width > blockSize && block.length > 0) {
        yield block
        block = []
        at = 0
      }
      const room = Math.max(width, Math.floor((blockSize - at) / width) * width)
      const end = Math.min(length, start + room)
      block.push({ item, pieces: item.pieces, start, end, at, last: end === length })
      at = roundUp(at + end - start, ALIGNMENT)
      start = end
    } while (start < length)
  }
  if (block.length > 0) yield block
}
