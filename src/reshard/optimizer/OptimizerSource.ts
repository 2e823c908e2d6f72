/** What is known of a checkpoint when its optimizer's state is looked at. */
import type { TrainingArguments } from "../../arguments/TrainingArguments.ts"
import type { Checkpoint } from "../../space/Checkpoint.ts"
import type { ItemsPlace, SpaceTensor, TensorSpace } from "../../space/TensorSpace.ts"
import type { PyRead } from "../../torch/PyValue.ts"
import type { KeyFacts } from "../keyFacts.ts"
import type { SourceLayout } from "../layouts.ts"

export interface OptimizerSource {
  readonly checkpoint: Checkpoint
  /** All entries, by the keys they are stored under. */
  readonly entries: TensorSpace<ItemsPlace>
  /** Those of the model, by their keys without wrappers. */
  readonly models: ReadonlyMap<string, SpaceTensor<ItemsPlace>>
  readonly facts: KeyFacts
  readonly componentOf: (key: string) => string
  readonly recorded: ReadonlyMap<string, SourceLayout>
  readonly common: PyRead | undefined
  readonly args: TrainingArguments | undefined
  /** Buckets may stay: only the number of copies of the model changes, and they do not depend on it. */
  readonly bucketsStay: boolean
}
