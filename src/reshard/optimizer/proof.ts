/** Is a master copy that was put together the one of the stored weights? Rounded to their type, it must be them, bit for bit. */
import { Effect, Stream } from "effect"
import { ChunkSelection } from "../../checkpoint/ChunkSelection.ts"
import { readChunks } from "../../checkpoint/StoredArrays.ts"
import { compare, type Comparison } from "../../engine/index.ts"
import { converting } from "../../io/attempt.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import { wholeBox } from "../../tensor/Copy.ts"
import type { StoredTensor } from "../../torch/DcpMetadata.ts"
import type { Content } from "../Contents.ts"

/** A master and the weights it is of, under the key they are stored under. */
export interface Claim {
  readonly master: Content
  readonly key: string
  readonly weights: StoredTensor
}

/** The first tensor whose weights are not its master's; undefined if all are. Reads everything. */
export const firstUnproved = Effect.fnUntraced(function*(directory: string, claims: ReadonlyArray<Claim>) {
  const store = yield* storeInUse
  const selection = new ChunkSelection(directory)
  for (const { key, master, weights } of claims) {
    selection.add(key, weights)
    for (const [read, tensor] of master.reads) selection.add(read, tensor)
  }
  const arrays = yield* converting(() => readChunks(store, selection))
  const comparisons = claims.map(({ key, master, weights: { dtype, shape }, weights }): Comparison => ({
    array: { id: key, dtype, shape, copies: () => master.copies(arrays, wholeBox(shape), key) },
    with: { id: key, dtype, shape, copies: () => arrays.whole(weights, key) }
  }))
  const found = yield* compare(comparisons).pipe(Stream.filter(({ equal }) => !equal), Stream.runHead)
  return found._tag === "Some" ? found.value : undefined
})
