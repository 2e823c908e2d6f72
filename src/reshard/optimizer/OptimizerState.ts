/** An optimizer's state on its way into a form that every layout can load. */
import type { Changes } from "../../torch/ArchiveEdit.ts"
import type { Content } from "../Contents.ts"

export interface OptimizerState {
  /** In which form it was stored, and in which it is. */
  readonly from: string
  readonly to: string
  readonly contents: ReadonlyArray<Content>
  /** Objects whose place something else takes. */
  readonly replaced: ReadonlySet<string>
  /** Of the common state's `optimizer` entry: new values of the whole. */
  readonly common: Changes
  readonly notes: ReadonlyArray<string>
}

/** Its tensors are ordinary ones: cut as the model's are. */
export const MODEL_SPACE = "model space"
