/** Values that a conversion does not only move: what is added to tensors on their way, and what that is read from. */
import type { Effect } from "effect"
import type { TargetArray } from "../engine/index.ts"
import type { BridgeError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import type { Ingredient } from "../publish/journal/Fingerprint.ts"
import type { SourceState } from "../publish/sources.ts"

export interface ValueChanges {
  /** Makes arrays of HF tensors (their `id` is the name) what they become. `arrayOf`: a tensor as it would be without. */
  readonly of: (arrayOf: (tensor: string) => TargetArray) => Effect.Effect<(array: TargetArray) => TargetArray, BridgeError, Disk>
  /** What decides them, the files that they were read from, and where these are. */
  readonly ingredients: ReadonlyArray<Ingredient>
  readonly states: ReadonlyArray<SourceState>
  readonly sources: ReadonlyArray<string>
}
