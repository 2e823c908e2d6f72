/** The weights of a checkpoint as a stream: in pieces of bounded size, or tensor by tensor. */
import { Stream } from "effect"
import { exportArray, type ExportPlan } from "../plan/ExportDraft.ts"
import { type ArrayChunk, type EngineError, type EngineOptions, stream } from "../engine/index.ts"
import type { Disk } from "../io/Disk.ts"
import { type Shape, volume } from "../tensor/Copy.ts"
import { bytesOf, type DType } from "../tensor/DType.ts"

/** A tensor of a weight stream, or a piece of one. */
export interface HfWeight {
  readonly name: string
  readonly dtype: DType
  /** Of the whole tensor. */
  readonly shape: Shape
  /** Where in the tensor's bytes `bytes` begins. */
  readonly offset: number
  /** Little-endian, C order, whole elements; the receiver's own. Empty for a tensor without elements. */
  readonly bytes: Uint8Array
  /** The tensor ends with it. */
  readonly last: boolean
}

/** In which pieces weights are streamed, and the limits of the engine that assembles them. */
export interface HfWeightOptions extends EngineOptions {
  /**
   * `bounded` (the default): the pieces of a tensor follow one another, in order, each of 4 MiB or the few blocks that a transposed
   * matrix needs at once; a tensor of up to 4 MiB is one piece. Memory is that of the engine (`maxMemory`) and the piece in hand,
   * whatever the model. `whole`: every tensor is one piece; memory holds the largest tensor as well.
   */
  readonly pieces?: "bounded" | "whole"
}

const pieceOf = ({ array: { dtype, id, shape }, bytes, last, offset }: ArrayChunk): HfWeight => ({ name: id, dtype, shape, offset, bytes, last })

/** Puts the chunks of one array after the other into memory of its size. */
const assembling = (): (chunk: ArrayChunk) => ReadonlyArray<HfWeight> => {
  let whole: Uint8Array | undefined
  return (chunk) => {
    const { array: { dtype, shape }, bytes, last, offset } = chunk
    whole ??= new Uint8Array(Buffer.allocUnsafeSlow(volume(shape) * bytesOf(dtype)).buffer)
    whole.set(bytes, offset)
    if (!last) return []
    const weight = pieceOf({ ...chunk, offset: 0, bytes: whole })
    whole = undefined
    return [weight]
  }
}

export const hfWeights = (plan: ExportPlan, { pieces = "bounded", ...options }: HfWeightOptions): Stream.Stream<HfWeight, EngineError, Disk> => {
  const arrays = Iterator.from(plan.tensors.values()).map((tensor) => exportArray(plan, tensor))
  if (pieces === "bounded") return Stream.map(stream(arrays, options), pieceOf)
  const assembled = assembling()
  return stream(arrays, { ...options, lend: true }).pipe(Stream.map(assembled), Stream.flattenIterable)
}
