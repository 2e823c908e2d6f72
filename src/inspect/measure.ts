/** Stream tensors through the engine and gather the statistics of each; what is read is checked by the CRC-32 stored with it. */
import { OtherStore, storeInUse } from "../remote/storeInUse.ts"
import { Effect, Stream } from "effect"
import { StorageSums } from "../checkpoint/StorageSums.ts"
import { type EngineLimits, stream } from "../engine/index.ts"
import { reading } from "../io/attempt.ts"
import type { SpaceTensor } from "../space/TensorSpace.ts"
import { inDiskOrder, isAddressable, openTensors } from "../space/openTensors.ts"
import { Gatherer, hasStatistics, type Statistics } from "./Statistics.ts"

export interface MeasureOptions extends EngineLimits {
  readonly progress?: (bytes: number) => void
  /** Called once it is known how many bytes will be read. */
  readonly onSize?: (bytes: number) => void
}

/**
 * Statistics of the given tensors, by name. Tensors of types without numbers (sub-byte, complex) are left out.
 *
 * @throws InvalidFile `checkpoint/crc` if what was read is not what was stored.
 */
export const measure = Effect.fnUntraced(function*(tensors: ReadonlyArray<SpaceTensor>, options: MeasureOptions = {}) {
  const readable = inDiskOrder(tensors.filter((t) => isAddressable(t) && hasStatistics(t.dtype)))
  const data = yield* openTensors(readable)
  options.onSize?.(readable.reduce((sum, t) => sum + t.bytes, 0))
  const results = new Map<string, Statistics>()
  let current: { readonly name: string; readonly gatherer: Gatherer } | undefined
  const finish = () => {
    if (current) results.set(current.name, current.gatherer.result())
    current = undefined
  }
  const arrays = function*() {
    for (const tensor of readable) yield* data.pieces(tensor)
  }
  const store = yield* storeInUse
  const sums = new StorageSums(data.storages)
  yield* stream(arrays(), options).pipe(Stream.runForEach(({ array, bytes }) => Effect.sync(() => {
    if (current?.name !== array.id) {
      finish()
      current = { name: array.id, gatherer: new Gatherer(array.dtype) }
    }
    current.gatherer.add(bytes)
    options.progress?.(bytes.byteLength)
  })), Effect.provideService(OtherStore, sums.watch(store)))
  yield* reading(() => sums.finish(store))
  finish()
  for (const { dtype, name } of readable) if (!results.has(name)) results.set(name, new Gatherer(dtype).result())
  return results as ReadonlyMap<string, Statistics>
})
