/** In which form an optimizer's state is stored, and how it gets into one that every layout can load (training-checkpoints.md 2). */
import { Effect } from "effect"
import type { TrainingArguments } from "../../arguments/TrainingArguments.ts"
import type { Checkpoint } from "../../checkpoint/Checkpoint.ts"
import { Unsupported } from "../../errors.ts"
import { modelKeyOf, roleOf, unwrapKey } from "../../model/storedKey.ts"
import type { PyRead } from "../../torch/PyValue.ts"
import { type Content, storedContent } from "../Contents.ts"
import type { KeyFacts } from "../keyFacts.ts"
import type { SourceLayout } from "../layouts.ts"
import type { ComponentPlan } from "../ReshardPlan.ts"
import { MODEL_SPACE, type OptimizerState } from "./OptimizerState.ts"

export interface OptimizerSource {
  readonly checkpoint: Checkpoint
  readonly facts: KeyFacts
  readonly componentOf: (key: string) => string
  readonly recorded: ReadonlyMap<string, SourceLayout>
  readonly layouts: ReadonlyMap<string, ComponentPlan>
  readonly common: PyRead | undefined
  readonly args: TrainingArguments | undefined
}

const BUCKET = /optimizer\.distributed\.dp_group_idx_\d+\.gbuf_idx_\d+\./

const entry = (value: PyRead | undefined, name: string): PyRead | undefined =>
  value instanceof Map ? (value as ReadonlyMap<PyRead, PyRead>).get(name) : undefined

/** What the trainer calls the form of the tensors that are in model space. */
const modelSpaceName = (common: PyRead | undefined): string => {
  const stated = entry(entry(common, "content_metadata"), "distrib_optim_sharding_type")
  return typeof stated === "string" ? stated : MODEL_SPACE
}

/** Optimizer entries of one model tensor each. */
const modelSpace = ({ checkpoint: { metadata }, componentOf }: OptimizerSource): ReadonlyArray<Content> =>
  [...metadata.tensors].flatMap(([key, tensor]) => {
    const own = roleOf(key) === "optimizer" && !metadata.flattened?.has(key) ? modelKeyOf(key) : undefined
    return own ? [storedContent(key, unwrapKey(own.key), componentOf(key), tensor)] : []
  })

/** Errors: Unsupported for a form that only its own layout can load. */
export const optimizerState = (source: OptimizerSource): Effect.Effect<OptimizerState, Unsupported> =>
  Effect.gen(function*() {
    const { checkpoint: { metadata }, common } = source
    const contents = modelSpace(source)
    const others = [...metadata.tensors.keys()].filter((key) => roleOf(key) === "optimizer" && (metadata.flattened?.has(key) === true || modelKeyOf(key) === undefined))
    if (others.length > 0) {
      return yield* new Unsupported({
        code: "unsupported/optimizer",
        what: others[0]!,
        problem: BUCKET.test(others[0]!) ? "the optimizer's state is stored in buckets of its ranks" : "the optimizer's state is stored in flat fragments",
        hint: "--drop optimizer leaves it behind. A trainer saves what any layout can load with --dist-ckpt-optim-fully-reshardable."
      })
    }
    const form = modelSpaceName(common)
    return { from: form, to: form, contents, replaced: new Set<string>(), common: new Map(), notes: [] }
  })
