/**
 * Rows of adapters that a trainer stores in an order which depends on how many tensor-parallel ranks save them: each rank's rows are one
 * chunk, although the rows of all parts are cut among ranks (adapters-and-assembly.md 1.1 fact 5, 1.3). Pure.
 */
import { type Copy, rebase, type Shape } from "../tensor/Copy.ts"
import { UsageError } from "../errors.ts"

/** `count` rows from `natural` on are stored from `stored` on. */
export interface RowRange {
  readonly natural: number
  readonly stored: number
  readonly count: number
}

export type RowOrder = ReadonlyArray<RowRange>

/**
 * `ranked`: for each rank its share of every part. `halved` (one part): the first halves of all ranks' shares, then the second ones.
 */
export const rowOrderOf = (order: { readonly kind: "ranked" | "halved"; readonly parts: ReadonlyArray<number> } | undefined, tp: number): RowOrder | undefined => {
  if (order === undefined || tp === 1) return undefined
  const shares = order.kind === "halved" ? 2 * tp : tp
  const uneven = order.parts.find((rows) => rows % shares !== 0)
  if (uneven !== undefined) throw new UsageError({ code: "usage/layout", problem: `${uneven} rows of an adapter cannot be divided among tp=${tp} tensor-parallel ranks` })
  const ranges: Array<RowRange> = []
  let stored = 0
  const add = (natural: number, count: number): void => {
    ranges.push({ natural, stored, count })
    stored += count
  }
  if (order.kind === "halved") {
    const half = order.parts[0]! / shares
    for (const which of [0, 1]) for (let rank = 0; rank < tp; rank++) add((2 * rank + which) * half, half)
    return ranges
  }
  for (let rank = 0; rank < tp; rank++) {
    let first = 0
    for (const rows of order.parts) {
      add(first + (rank * rows) / tp, rows / tp)
      first += rows
    }
  }
  return ranges
}

/** Copies to a tensor whose rows are in their own order, as copies to one that stores them in another. */
export const reordered = (copies: ReadonlyArray<Copy>, shape: Shape, order: RowOrder | undefined): ReadonlyArray<Copy> =>
  order === undefined ? copies : copies.flatMap((copy) => order.flatMap(({ count, natural, stored }) => {
    const rest = shape.slice(1)
    return rebase(copy, "target", shape, { offsets: [natural, ...rest.map(() => 0)], sizes: [count, ...rest] }, copy.target.tensor, shape, [stored, ...rest.map(() => 0)])
  }))
