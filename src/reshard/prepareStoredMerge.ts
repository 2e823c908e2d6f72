/**
 * A merge of a Megatron checkpoint's weights that is written as a Megatron checkpoint: its weights alone, cut as they are or under another
 * layout, with the changes of adapters added where they are stored. No value makes the way to a Hugging Face tensor and back.
 */
import { Effect } from "effect"
import { computing, type MergeRequest, type MergeRun, openMerge, type PreparedMerge } from "../adapters/merge/merging.ts"
import { storedChanges } from "../adapters/merge/storedChanges.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { prepareReshard } from "./prepareReshard.ts"
import type { ReshardOptions, ReshardReport } from "./Request.ts"

export interface StoredMergeRequest extends MergeRequest, Pick<ReshardOptions, "layout"> {
  /** The checkpoint with the base's weights. */
  readonly pretrained: string
}

const LEFT_OUT = "optimizer state and random states belong to the weights before the merge and are left out: train on with a fresh optimizer, or export"

/** Plan it; `hfModel` says what the checkpoint's parameters are. Errors: those of a merge and of resharding. */
export const prepareStoredMerge = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, { layout, pretrained, ...request }: StoredMergeRequest) {
  const merging = yield* openMerge(families, hfModel, request)
  let [driver, changed] = ["", 0]
  const resharded = yield* prepareReshard(pretrained, {
    layout,
    dropOptimizer: true,
    onlyModel: true,
    rng: "drop",
    seed: undefined,
    changes: {
      ...merging.decided,
      of: (checkpoint) => Effect.tap(storedChanges(merging, checkpoint), (changes) => Effect.sync(() => { [driver, changed] = [changes.driver, changes.tensors] }))
    }
  })
  const reportOf = ({ dropped, files, kept, notes, source, tensors }: ReshardReport) => {
    const unchanged = new Set(kept)
    return merging.report({
      base: source,
      driver,
      tensors,
      changed,
      files: files.filter(({ name }) => !unchanged.has(name)),
      unchanged: kept,
      notes: dropped > 0 ? [...notes, LEFT_OUT] : notes
    })
  }
  const run = (target: string, options: MergeRun) => Effect.map(resharded.run(target, computing(options)), reportOf)
  return { report: reportOf(resharded.report), run } satisfies PreparedMerge
})
