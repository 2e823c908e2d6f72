/** What an import places under a layout, and the arrays of its chunks. Pure. */
import type { BoundParameter, Conversion } from "../bridge/Conversion.ts"
import type { KeptTensor } from "../checkpoint/CheckpointFiles.ts"
import { HF_SOURCE } from "../checkpoint/names.ts"
import type { Chunk, GroupToPlace } from "../checkpoint/Placement.ts"
import type { LocalTensor } from "../checkpoint/RankStates.ts"
import type { SourceCopy, TargetArray } from "../engine/index.ts"
import type { Entry } from "../model/Parameter.ts"
import { type Box, type Copy, identity, rebase, type Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import type { LaidOutModule } from "./layoutChecks.ts"

/** A copy from an HF tensor, as copies from what is in the files. */
export type ReadCopy = (copy: Copy) => ReadonlyArray<SourceCopy>

/** `beside`: entries that no loader asks for. */
export const groupsToPlace = (
  { parameters, states }: Conversion,
  modules: ReadonlyArray<LaidOutModule>,
  beside: (entry: Entry) => boolean
): ReadonlyArray<GroupToPlace<BoundParameter>> => {
  const parametersOf = Map.groupBy(parameters, (bound) => bound.module)
  const statesOf = Map.groupBy(states, (bound) => bound.module)
  return modules.map(({ module, parallelism, stageOf }) => ({
    keyPrefix: module.keyPrefix,
    parallelism,
    states: Iterator.from(statesOf.get(module) ?? []).map(({ state }) => ({ state, stage: stageOf(state), beside: beside(state) })),
    tensors: Iterator.from(parametersOf.get(module) ?? []).map((of) => ({ tensor: of.parameter, stage: stageOf(of.parameter), beside: beside(of.parameter), of }))
  }))
}

/** The array of what one rank holds of a parameter: the parameter's copies, cut to each of its boxes. */
export const localArray = ({ key, name, of: { copies, parameter }, pieces, shape }: LocalTensor<BoundParameter>, dtype: DType, read: ReadCopy): TargetArray => ({
  id: key,
  dtype,
  shape,
  copies: () => pieces.flatMap(({ at, box }) => copies.flatMap((copy) => rebase(copy, "target", parameter.shape, box, name, shape, at))).flatMap(read)
})

/** The array of one chunk: the parameter's copies, cut to the chunk's box. */
export class ChunkArray implements TargetArray {
  readonly id: string
  readonly dtype: DType
  readonly shape: Shape
  readonly #bound: BoundParameter
  readonly #box: Box
  readonly #read: ReadCopy

  constructor({ box, key, of }: Chunk<BoundParameter>, dtype: DType, read: ReadCopy) {
    this.id = key
    this.dtype = dtype
    this.shape = box.sizes
    this.#bound = of
    this.#box = box
    this.#read = read
  }

  copies(): ReadonlyArray<SourceCopy> {
    const { copies, parameter } = this.#bound
    const start = this.shape.map(() => 0)
    return copies.flatMap((copy) => rebase(copy, "target", parameter.shape, this.#box, this.id, this.shape, start)).flatMap(this.#read)
  }
}

/** The bytes of an HF tensor that travel beside the model. */
export const keptArray = ({ dtype, name, shape }: KeptTensor, read: ReadCopy): TargetArray =>
  ({ id: name, dtype, shape, copies: () => read(identity(name, HF_SOURCE + name, shape)) })
