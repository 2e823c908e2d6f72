/**
 * The one loop of the engine: blocks are assembled several at a time, each in a slot of the arena, and given to a sink in the order in
 * which they were asked for. Files, streams, comparisons and digests are sinks.
 */
import { PAGE, roundUp } from "./Arena.ts"
import { arrayBlocks, type ArrayPart, type Packable } from "./ArrayBlocks.ts"
import { fill } from "./Fill.ts"
import type { Pieces } from "./Pieces.ts"
import { pipeline } from "./pipeline.ts"
import type { EngineSession } from "./session.ts"
import { type Slot, slotAt, slotBytes } from "./Slot.ts"

export interface BlockSink<Item, Result> {
  /** Bytes of the block that an item needs. */
  readonly sizeOf: (item: Item) => number
  /** Blocks of that size that it needs beside each other; one if nothing is said. */
  readonly blocks?: number
  /** Assemble the item in the slot and make something of it. */
  readonly take: (item: Item, slot: Slot) => Promise<Result>
  /** The result refers to the slot, which is kept until the next one is asked for. */
  readonly keep: boolean
  /** Instead of the session's. */
  readonly signal?: AbortSignal
  /** Called once with the first failure, so that work which waits for other work can stop. */
  readonly onFailure?: (error: unknown) => void
}

/** Items under way beyond those that the arena has room for, so that a slow one does not hold up the next. */
const BEYOND = 4

export const blockLoop = <Item, Result>(
  { arena, settings: { concurrency, sizes }, signal: own }: EngineSession,
  items: Iterable<Item>,
  { blocks = 1, keep, onFailure, signal = own, sizeOf, take }: BlockSink<Item, Result>
): AsyncGenerator<Result, void> =>
  pipeline({
    items,
    arena,
    room: (item) => slotBytes(sizes, sizeOf(item), blocks),
    ahead: concurrency + BEYOND,
    work: (item, { start }) => take(item, slotAt(start, sizes, sizeOf(item), blocks)),
    keep,
    signal,
    ...(onFailure ? { onFailure } : {})
  })

/** A block of array parts, assembled; `at`: its address, one for each side. */
export interface AssembledBlock<Item> {
  readonly parts: ReadonlyArray<ArrayPart<Item>>
  readonly at: ReadonlyArray<number>
}

export interface ArraySink<Item, Result> {
  /** What is assembled beside the items' own arrays, in blocks cut alike. */
  readonly beside?: (item: Item) => Pieces
  readonly take: (block: AssembledBlock<Item>) => Result
  /** As in {@link arrayBlocks}. */
  readonly undivided?: boolean
}

/** The loop over arrays one after the other. What `take` gives may refer to the blocks until the next result is asked for. */
export const arrayLoop = <Item extends Packable, Result>(
  session: EngineSession,
  items: Iterable<Item>,
  { beside, take, undivided = false }: ArraySink<Item, Result>
): AsyncGenerator<Result, void> => {
  const { context, settings: { gap, sizes } } = session
  return blockLoop(session, arrayBlocks(items, sizes, gap, undivided), {
    sizeOf: ({ size }) => size,
    blocks: beside ? 2 : 1,
    keep: true,
    take: async ({ parts, size }, slot) => {
      await fill(context, parts, slot.block, slot)
      if (!beside) return take({ parts, at: [slot.block] })
      const second = slot.block + roundUp(size, PAGE)
      await fill(context, parts.map((part) => ({ ...part, pieces: beside(part.item) })), second, slot)
      return take({ parts, at: [slot.block, second] })
    }
  })
}
