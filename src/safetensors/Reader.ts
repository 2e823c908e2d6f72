/** Whole tensors into memory: for small files, tests and inspection. Conversions read ranges of a {@link Shard} instead. */
import { Effect } from "effect"
import { InvalidFile } from "../errors.ts"
import { lift } from "../io/attempt.ts"
import { readFully } from "../store/Store.ts"
import { type HfTensors, openSafetensors, openShard } from "./SafetensorsDirectory.ts"
import type { TensorInfo } from "./Tensor.ts"

/** A tensor with its bytes: row-major, little endian. */
export interface TensorData extends TensorInfo {
  readonly data: Uint8Array
}

/** What a file or directory holds. */
export interface SafetensorsContent {
  /** `__metadata__` of the first file. */
  readonly metadata: ReadonlyMap<string, string> | undefined
  /** By name. */
  readonly tensors: ReadonlyMap<string, TensorData>
}

/**
 * The bytes of one tensor.
 *
 * @throws InvalidFile `safetensors/no-such-tensor` or `safetensors/changed`; IoError.
 */
export const readTensor = (source: HfTensors, name: string) =>
  Effect.scoped(Effect.gen(function*() {
    const tensor = source.tensors.get(name)
    if (tensor === undefined) {
      return yield* new InvalidFile({
        path: source.directory,
        code: "safetensors/no-such-tensor",
        problem: "has no such tensor",
        place: { tensor: name }
      })
    }
    const file = yield* openShard(source.shards[tensor.shard]!)
    const data = new Uint8Array(tensor.end - tensor.begin)
    yield* lift(() => readFully(file, data, tensor.begin))
    return data
  }))

/**
 * Every tensor of a file or directory (see {@link openSafetensors}) with its bytes, and the metadata of the first file.
 *
 * **Gotchas**: needs as much memory as the checkpoint has bytes.
 *
 * @example
 * const { tensors } = yield* readSafetensors("model.safetensors")
 * tensors.get("lm_head.weight")?.shape // => [151936, 2048]
 */
export const readSafetensors = Effect.fnUntraced(function*(path: string) {
  const source = yield* openSafetensors(path)
  const tensors = new Map<string, TensorData>()
  for (const shard of source.shards) {
    yield* Effect.scoped(Effect.gen(function*() {
      const file = yield* openShard(shard)
      for (const tensor of shard.tensors) {
        const data = new Uint8Array(tensor.end - tensor.begin)
        yield* lift(() => readFully(file, data, tensor.begin))
        tensors.set(tensor.name, { ...tensor, data })
      }
    }))
  }
  return { metadata: source.shards[0]?.metadata, tensors } satisfies SafetensorsContent
})
