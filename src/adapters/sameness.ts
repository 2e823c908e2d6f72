/** Which adapters are the same bit by bit: those of q, k and v may share their A, those of all experts both matrices. */
import { Effect, Stream } from "effect"
import { digest, type TargetArray } from "../engine/index.ts"
import { readSpace } from "../space/TensorSpace.ts"
import type { StoredWeights } from "../space/StoredWeights.ts"
import type { Copy, Shape } from "../tensor/Copy.ts"
import type { BoundAdapter } from "./bindPeft.ts"
import { converting } from "../io/attempt.ts"
import { type Factor, factorsOf, isLinearWeight } from "./factors.ts"
import type { BoundParameter } from "../bridge/Conversion.ts"
import { inputCopies, outputCopies } from "./relate.ts"

interface Viewed {
  readonly adapter: BoundAdapter
  readonly factor: Factor
}

const idOf = (side: "A" | "B", { adapter, factor: { matrix } }: Viewed): string => `${side} ${adapter.tensor}#${matrix.expert?.index ?? 0}`

/** Tells whether two adapters have the same A, or the same A and B. */
export interface Sameness {
  readonly input: (a: Viewed, b: Viewed) => boolean
  readonly both: (a: Viewed, b: Viewed) => boolean
}

/** Read what may be shared. */
export const samenessOf = Effect.fnUntraced(function*(parameters: ReadonlyArray<BoundParameter>, adapters: ReadonlyMap<string, BoundAdapter>, weights: StoredWeights) {
  const read = readSpace(weights)
  const arrays = yield* converting(() => {
    const wanted = new Map<string, TargetArray>()
    for (const bound of parameters.filter(isLinearWeight)) {
      const factors = factorsOf(bound).filter(({ matrix }) => adapters.has(matrix.tensor))
      const { expert, shape } = bound.parameter
      if (factors.length < 2 && !expert) continue
      for (const factor of factors) {
        const viewed = { factor, adapter: adapters.get(factor.matrix.tensor)! }
        const { matrices: { a }, rank } = viewed.adapter
        const pair = viewed.adapter.pairOf(factor.matrix)
        const ranks = { count: rank, hf: 0, stored: 0, of: rank }
        const array = (side: "A" | "B", own: Shape, copies: (id: string) => ReadonlyArray<Copy>): void => {
          const id = idOf(side, viewed)
          wanted.set(id, { id, dtype: a.dtype, shape: own, copies: () => copies(id).flatMap(read) })
        }
        array("A", [rank, shape[1]!], (id) => inputCopies(factor, pair, ranks, shape[1]!, id))
        if (expert) array("B", [factor.matrix.rows, rank], (id) => outputCopies({ rows: inOwnRows(factor) }, pair, ranks, id))
      }
    }
    return wanted
  })
  const sums = new Map<string, string>()
  yield* digest(arrays.values()).pipe(Stream.runForEach(({ id, sha256 }) => Effect.sync(() => sums.set(id, sha256))))
  const input = (a: Viewed, b: Viewed): boolean => a.adapter.rank === b.adapter.rank && sums.get(idOf("A", a)) === sums.get(idOf("A", b))
  return { input, both: (a, b) => input(a, b) && sums.get(idOf("B", a)) === sums.get(idOf("B", b)) } satisfies Sameness
})

/** The rows of the HF matrix in its own order. */
const inOwnRows = ({ rows }: Factor): Factor["rows"] => rows.filter(({ echo }) => !echo).map((strip) => ({ ...strip, parameter: strip.hf }))
