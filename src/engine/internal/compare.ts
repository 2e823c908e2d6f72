/** Hold arrays, as they would be written, against arrays that exist. */
import { Stream } from "effect"
import type { Disk } from "../../io/Disk.ts"
import { identity, sameShape } from "../../tensor/Copy.ts"
import type { ArrayPart } from "./ArrayBlocks.ts"
import { arrayLoop } from "./blockLoop.ts"
import { type Difference, differenceOf, printElement } from "./difference.ts"
import { Pieces } from "./Pieces.ts"
import { type EngineError, type EngineSession, streamOf } from "./session.ts"
import type { EngineOptions } from "./Settings.ts"
import type { SourceArray, TargetArray } from "./Target.ts"

/** An array assembled from sources, and the one it should equal, which exists or is assembled too: same dtype, same shape. */
export interface Comparison {
  readonly array: TargetArray
  readonly with: SourceArray | TargetArray
}

export interface Compared {
  readonly id: string
  readonly equal: boolean
  readonly elements: number
  /** Elements whose bits differ. */
  readonly differing: number
  /** Floating dtypes, if any differs; infinite where only one side is a number. */
  readonly maxAbsDiff?: number
  readonly firstDifference?: {
    /** Flat index. */
    readonly element: number
    readonly assembled: string
    readonly stored: string
  }
}

/** The outcomes in order. Throws RangeError (a defect) for a pair of unequal dtype or shape. */
export const compare = (
  comparisons: Iterable<Comparison>,
  options: EngineOptions = {}
): Stream.Stream<Compared, EngineError, Disk> => streamOf(options, 2, (session) => outcomes(session, comparisons))

interface Item {
  readonly pieces: Pieces
  readonly other: Pieces
}

const itemOf = (comparison: Comparison): Item => {
  const { array, with: stored } = comparison
  if (array.dtype !== stored.dtype || !sameShape(array.shape, stored.shape)) {
    throw new RangeError(`${array.id}: ${array.dtype} [${array.shape}] cannot equal ${stored.dtype} [${stored.shape}]`)
  }
  const pieces = new Pieces(array)
  if ("copies" in stored) return { pieces, other: new Pieces(stored) }
  return { pieces, other: new Pieces({ id: array.id, dtype: array.dtype, shape: array.shape, copies: () => [identity(stored, array.id, array.shape)] }) }
}

const outcomes = async function*(
  session: EngineSession,
  comparisons: Iterable<Comparison>
): AsyncGenerator<Compared, void> {
  const { memory } = session.context
  const blocks = arrayLoop(session, Iterator.from(comparisons).map((c) => itemOf(c)), {
    beside: ({ other }) => other,
    take: ({ at: [one, second], parts }) => parts.map((part) => {
      const { array: { dtype }, width } = part.pieces
      const [a, b] = [one! + part.at, second! + part.at]
      const found = differenceOf(memory, dtype, a, b, (part.end - part.start) / width)
      const at = (found.first ?? 0) * width
      return {
        part,
        found,
        ...(found.first === undefined
          ? {}
          : { assembled: printElement(memory, dtype, a + at), stored: printElement(memory, dtype, b + at) })
      }
    })
  })
  let sum: { differing: number; maxAbsDiff?: number; firstDifference?: NonNullable<Compared["firstDifference"]> } = { differing: 0 }
  for await (const block of blocks) {
    for (const { assembled, found, part, stored } of block) {
      sum = add(sum, part, found, assembled, stored)
      if (!part.last) continue
      yield { id: part.pieces.array.id, equal: sum.differing === 0, elements: part.pieces.elements, ...sum }
      sum = { differing: 0 }
    }
  }
}

type Sum = Pick<Compared, "differing" | "maxAbsDiff" | "firstDifference">

const add = (sum: Sum, part: ArrayPart<Item>, found: Difference, assembled?: string, stored?: string): Sum => {
  if (found.differing === 0) return sum
  const element = part.start / part.pieces.width + found.first!
  return {
    differing: sum.differing + found.differing,
    ...(found.maxAbsDiff === undefined ? {} : { maxAbsDiff: Math.max(sum.maxAbsDiff ?? 0, found.maxAbsDiff) }),
    firstDifference: sum.firstDifference ?? { element, assembled: assembled!, stored: stored! }
  }
}
