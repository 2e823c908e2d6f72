/** The weights of a model as a stream: in pieces of bounded size, or tensor by tensor. */
import { Stream } from "effect"
import { type EngineError, type EngineOptions, stream, type TargetArray } from "../engine/index.ts"
import { atPath } from "../document/decode.ts"
import { converting } from "../io/attempt.ts"
import type { ConversionError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import { BlockQuantizer, type BlockwiseSource, blockwiseParts } from "../quantized/BlockQuantizer.ts"
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

/** Memory that is filled right away need not be cleared first. */
export const freshMemory = (bytes: number): Uint8Array => new Uint8Array(Buffer.allocUnsafeSlow(bytes).buffer)

/** Puts the pieces of one tensor after the other into memory of its size. */
const assembling = (): (piece: HfWeight) => ReadonlyArray<HfWeight> => {
  let whole: Uint8Array | undefined
  return (piece) => {
    const { bytes, dtype, last, offset, shape } = piece
    whole ??= freshMemory(volume(shape) * bytesOf(dtype))
    whole.set(bytes, offset)
    if (!last) return []
    const weight = { ...piece, offset: 0, bytes: whole }
    whole = undefined
    return [weight]
  }
}

/** In place of the pieces of a tensor those of its codes, then its scales; `blocksOf` says which tensors become codes. */
const quantizing = (blocksOf: (piece: HfWeight) => BlockwiseSource | undefined): (piece: HfWeight) => ReadonlyArray<HfWeight> => {
  let open: { readonly quantizer: BlockQuantizer; readonly source: BlockwiseSource; offset: number } | undefined
  return (piece) => {
    if (open === undefined) {
      const source = blocksOf(piece)
      if (source === undefined) return [piece]
      open = { quantizer: new BlockQuantizer(source), source, offset: 0 }
    }
    const { codes, scales } = blockwiseParts(open.source)
    const bytes = open.quantizer.push(piece.bytes)
    const weights: Array<HfWeight> = bytes.byteLength > 0 || piece.last ? [{ ...codes, offset: open.offset, bytes, last: piece.last }] : []
    open.offset += bytes.byteLength
    if (piece.last) {
      weights.push({ ...scales, offset: 0, bytes: open.quantizer.scales(), last: true })
      open = undefined
    }
    return weights
  }
}

/** Tensors that become FP8 codes and scales on their way. */
export interface Quantizing {
  readonly blocksOf: (piece: HfWeight) => BlockwiseSource | undefined
  /** Where they come from, for errors. */
  readonly path: string
}

/** The pieces of arrays; with `lend` they are valid until the next one is asked for. */
export const weightPieces = (arrays: Iterable<TargetArray>, options: EngineOptions & { readonly lend?: boolean }, quantize?: Quantizing): Stream.Stream<HfWeight, EngineError | ConversionError, Disk> => {
  const pieces = Stream.map(stream(arrays, options), ({ array: { dtype, id, shape }, bytes, last, offset }): HfWeight => ({ name: id, dtype, shape, offset, bytes, last }))
  if (quantize === undefined) return pieces
  const quantized = quantizing(quantize.blocksOf)
  return pieces.pipe(Stream.mapEffect((piece) => converting(() => atPath(quantize.path, () => quantized(piece)))), Stream.flattenIterable)
}

export const hfWeights = (arrays: Iterable<TargetArray>, { pieces = "bounded", ...options }: HfWeightOptions, quantize?: Quantizing): Stream.Stream<HfWeight, EngineError | ConversionError, Disk> => {
  if (pieces === "bounded") return weightPieces(arrays, options, quantize)
  const assembled = assembling()
  return weightPieces(arrays, { ...options, lend: true }, quantize).pipe(Stream.map(assembled), Stream.flattenIterable)
}
