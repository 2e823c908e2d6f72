/** Is a master copy that was put together the one of the stored weights? Rounded to their type, it must be them, bit for bit. */
import { Effect, Stream } from "effect"
import { ChunkSelection } from "../../checkpoint/ChunkSelection.ts"
import { readChunks } from "../../checkpoint/StoredArrays.ts"
import { compare, type Comparison } from "../../engine/index.ts"
import { converting } from "../../io/attempt.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import type { ItemsPlace, SpaceTensor } from "../../space/TensorSpace.ts"
import { wholeBox } from "../../tensor/Copy.ts"
import type { Content } from "../Contents.ts"

/** A master and the weights it is of. */
export interface Claim {
  readonly master: Content
  readonly weights: SpaceTensor<ItemsPlace>
}

/** The first tensor whose weights are not its master's; undefined if all are. Reads everything. */
export const firstUnproved = Effect.fnUntraced(function*(directory: string, claims: ReadonlyArray<Claim>) {
  const store = yield* storeInUse
  const selection = new ChunkSelection(directory)
  for (const { master, weights } of claims) {
    for (const { name, place } of [weights, ...master.reads]) selection.add(name, place.stored)
  }
  const arrays = yield* converting(() => readChunks(store, selection))
  const comparisons = claims.map(({ master, weights: { dtype, name, place, shape } }): Comparison => ({
    array: { id: name, dtype, shape, copies: () => master.copies(arrays, wholeBox(shape), name) },
    with: { id: name, dtype, shape, copies: () => arrays.whole(place.stored, name) }
  }))
  const found = yield* compare(comparisons).pipe(Stream.filter(({ equal }) => !equal), Stream.runHead)
  return found._tag === "Some" ? found.value : undefined
})
