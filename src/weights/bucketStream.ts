/** Tensors packed one behind the other into buckets; memory holds one bucket and the engine's buffers. */
import { Stream } from "effect"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { freshMemory, type HfWeight } from "./pieces.ts"

/** A tensor of a bucket: `bytes.subarray(offset, offset + length)`, little-endian, in C order. */
export interface PackedTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  readonly offset: number
  readonly length: number
}

/** Whole tensors without gaps between them. */
export interface WeightBucket {
  /** From 0 on. */
  readonly index: number
  readonly tensors: ReadonlyArray<PackedTensor>
  /** The receiver's own. */
  readonly bytes: Uint8Array
}

/** A tensor that a stream gives out. */
export interface StreamedOutput {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  readonly bytes: number
}

/** Fill buckets in order from the pieces of all their tensors; the next one is begun when one has been taken. */
export const bucketStream = <E, R>(buckets: ReadonlyArray<ReadonlyArray<StreamedOutput>>, pieces: Stream.Stream<HfWeight, E, R>): Stream.Stream<WeightBucket, E, R> => {
  let [index, member] = [0, 0]
  let offset = 0
  let tensors: Array<PackedTensor> = []
  let bytes: Uint8Array | undefined
  return pieces.pipe(
    Stream.map((piece): ReadonlyArray<WeightBucket> => {
      const bucket = buckets[index]!
      const { bytes: length, dtype, name, shape } = bucket[member]!
      bytes ??= freshMemory(bucket.reduce((sum, tensor) => sum + tensor.bytes, 0))
      bytes.set(piece.bytes, offset + piece.offset)
      if (!piece.last) return []
      tensors.push({ name, dtype, shape, offset, length })
      offset += length
      if (++member < bucket.length) return []
      const done: WeightBucket = { index, tensors, bytes }
      bytes = undefined
      tensors = []
      index++
      member = 0
      offset = 0
      return [done]
    }),
    Stream.flattenIterable
  )
}
