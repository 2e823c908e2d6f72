/** Merges whose result is a Megatron checkpoint, and merges of a Megatron checkpoint's weights: conversions on whose way the changes are added. */
import { Effect } from "effect"
import type { FamilyRegistry } from "../../bridge/FamilyRegistry.ts"
import { prepareExport } from "../../convert/prepareExport.ts"
import { prepareImport } from "../../convert/prepareImport.ts"
import { converting } from "../../io/attempt.ts"
import type { ImportOptions } from "../../plan/ImportOptions.ts"
import type { ConversionReport } from "../../plan/Report.ts"
import { changingChunks } from "./changedChunk.ts"
import { changing } from "./changes.ts"
import { arraysOf, computing, type MergeRequest, type MergeRun, openMerge, type PreparedMerge, requireWeights } from "./merging.ts"

/** All of a conversion that a merge does not ask for. */
const AS_IT_IS = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

/** Plan a merge into the weights of the Megatron checkpoint `pretrained`, written as the directory that an export of it would be. */
export const prepareCheckpointMerge = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, pretrained: string, request: MergeRequest) {
  const { changes, decided, report } = yield* openMerge(families, hfModel, request)
  let driver = ""
  const exported = yield* prepareExport(families, hfModel, pretrained, {
    ...AS_IT_IS,
    changes: {
      ...decided,
      of: (array) => Effect.map(changing(changes, array), (how) => {
        driver = how.driver
        return how.changed
      })
    }
  })
  const reportOf = ({ files, notes, source, targetTensors }: ConversionReport) => report({ base: source, driver, files, notes, tensors: targetTensors })
  const run = (target: string, options: MergeRun) => Effect.map(exported.run(target, computing(options)), reportOf)
  return { report: reportOf(exported.report), run } satisfies PreparedMerge
})

/** A merge whose result is a Megatron checkpoint. */
export interface MegatronMergeRequest extends MergeRequest, Pick<ImportOptions, "form" | "layout"> {}

/** Plan a merge of the directory `hfModel` that is written as a Megatron checkpoint: what an import of the merged directory would be. */
export const prepareMegatronMerge = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, { form, layout, ...request }: MegatronMergeRequest) {
  const merging = yield* openMerge(families, hfModel, request)
  const { changes, decided, report } = merging
  const weights = yield* converting(() => requireWeights(merging))
  const how = yield* changing(changes, arraysOf(weights))
  const { plan, run: runImport } = yield* prepareImport(families, hfModel, {
    ...AS_IT_IS,
    form,
    layout,
    step: 0,
    changes: { chunk: changingChunks({ ...how, changes, dtypeOf: (tensor) => weights.tensors.get(tensor)!.dtype }), kept: how.changed },
    changing: decided
  })
  const reportOf = ({ files, notes, source, sourceTensors }: ConversionReport) => report({ base: source, driver: how.driver, files, notes, tensors: sourceTensors })
  const run = (target: string, options: MergeRun) => Effect.map(runImport(target, computing(options)), reportOf)
  return { report: reportOf(plan.report), run } satisfies PreparedMerge
})
