/** HF matrices whose stored adapters have the same A: together they are one adapter. */
import { Effect, Stream } from "effect"
import type { Checkpoint } from "../space/Checkpoint.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import { digest, type TargetArray } from "../engine/index.ts"
import { converting } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { identity } from "../tensor/Copy.ts"
import type { LocatedAdapter } from "./locate.ts"

/** Names of HF tensors. Reads the A's of those that have several. */
export const sharedInputs = Effect.fnUntraced(function*(checkpoint: Checkpoint, adapters: ReadonlyArray<LocatedAdapter>) {
  const store = yield* storeInUse
  const slots = adapters.filter(({ pair }) => pair.slot !== undefined)
  const several = [...Map.groupBy(slots, ({ pair }) => pair.factors[0]!.matrix.tensor)].filter(([, own]) => own.length > 1)
  if (several.length === 0) return new Set<string>()
  const chunks = new ChunkSelection(checkpoint.directory)
  for (const [, own] of several) for (const { input: { parameter, parts } } of own) chunks.addParts(parameter.shape, parts)
  const stored = yield* converting(() => readChunks(store, chunks))
  const arrays = several.flatMap(([tensor, own]) => own.map(({ input: { parameter: { name, shape }, parts } }): TargetArray => ({
    id: tensor,
    dtype: parts[0]!.tensor.dtype,
    shape,
    copies: () => stored.toHf({ shape, copies: [identity(tensor, name, shape)], parts }, tensor)
  })))
  const sums = new Map<string, Set<string>>(several.map(([tensor]) => [tensor, new Set()]))
  yield* digest(arrays).pipe(Stream.runForEach(({ id, sha256 }) => Effect.sync(() => sums.get(id)!.add(sha256))))
  return new Set([...sums].flatMap(([tensor, own]) => (own.size === 1 ? [tensor] : [])))
})
