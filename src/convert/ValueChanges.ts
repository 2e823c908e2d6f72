/** Values that a conversion does not only move: what is added to tensors on their way, and what that is read from. */
import type { Effect } from "effect"
import type { TargetArray } from "../engine/index.ts"
import type { ConversionError, JobError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import type { Ingredient } from "../publish/journal/Fingerprint.ts"
import type { SourceState } from "../publish/sources.ts"
import type { Checkpoint } from "../space/Checkpoint.ts"
import type { Box } from "../tensor/Copy.ts"
import type { StoredTensor } from "../torch/DcpMetadata.ts"

/** What decides changes, the files that they were read from, and where these are. */
export interface ChangeSources {
  readonly ingredients: ReadonlyArray<Ingredient>
  readonly states: ReadonlyArray<SourceState>
  readonly sources: ReadonlyArray<string>
}

export interface ValueChanges extends ChangeSources {
  /** Makes arrays of HF tensors (their `id` is the name) what they become. `arrayOf`: a tensor as it would be without. */
  readonly of: (arrayOf: (tensor: string) => TargetArray) => Effect.Effect<(array: TargetArray) => TargetArray, JobError, Disk>
}

/** Tensors of a Megatron checkpoint of which values change, and what becomes of an array that is a box of one. */
export interface ChangedTensors {
  readonly has: (tensor: StoredTensor) => boolean
  readonly changed: (array: TargetArray, tensor: StoredTensor, box: Box) => TargetArray
}

export interface StoredChanges extends ChangeSources {
  readonly of: (checkpoint: Checkpoint) => Effect.Effect<ChangedTensors, ConversionError, Disk>
}
