/** An optimizer's state on its way into a form that every layout can load. */
import type { PickleValue } from "../../torch/PickleValue.ts"
import type { Content } from "../Contents.ts"

/** An object that takes the place of others. */
export interface NewObject {
  readonly key: string
  readonly component: string
  readonly bytes: Uint8Array
}

export interface OptimizerState {
  /** In which form it was stored, and in which it is. */
  readonly from: string
  readonly to: string
  readonly contents: ReadonlyArray<Content>
  /** Objects whose place something else takes. */
  readonly replaced: ReadonlySet<string>
  readonly objects: ReadonlyArray<NewObject>
  /** The `optimizer` entry of the common state, as it becomes. */
  readonly optimizer: (old: PickleValue | undefined) => PickleValue | undefined
  readonly notes: ReadonlyArray<string>
}

/** Its tensors are ordinary ones: cut as the model's are. */
export const MODEL_SPACE = "model space"
