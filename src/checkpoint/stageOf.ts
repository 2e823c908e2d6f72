/** The pipeline stage of every entry of a module under a layout. */
import { UsageError } from "../errors.ts"
import type { Entry } from "../model/Parameter.ts"
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import { type PipelineStages, pipelineStages } from "../parallel/PipelineSplit.ts"

/** All that a pipeline asks of an entry. */
export type Staged = Pick<Entry, "stage" | "mtp">

export type StageOf<E extends Staged = Entry> = (entry: E) => number

/** Without layers that are dealt out there is a first stage and a last. */
const ends = (pp: number): PipelineStages => ({ layers: [], embedding: 0, output: pp - 1, norm: pp - 1, mtp: pp - 1 })

/**
 * `mtpLayers`: of multi-token prediction, as many as the trainer builds. `isTower`: the entry belongs to a tower of a standard
 * model, which is on the first stage as a whole.
 *
 * @throws UsageError if the layers do not fit the pipeline
 */
export const stagesOf = <E extends Staged>(
  { pipeline, pp }: ModuleParallelism,
  entries: ReadonlyArray<E>,
  { isTower = () => false, mtpLayers = 0 }: { readonly isTower?: (entry: E) => boolean; readonly mtpLayers?: number } = {}
): StageOf<E> => {
  if (pp === 1 && pipeline === undefined) return () => 0
  const staged = entries.find((entry) => typeof entry.stage === "object" && !isTower(entry))?.stage
  if (typeof staged !== "object" && pipeline !== undefined) throw new UsageError({ problem: "an uneven pipeline, but there are no layers to deal out" })
  const stages = typeof staged === "object" ? pipelineStages(staged.of, pp, pipeline, mtpLayers) : ends(pp)
  return (entry) => {
    const { mtp, stage } = entry
    if (isTower(entry) || stage === "first") return stages.embedding
    if (mtp) return stages.mtp
    if (typeof stage === "object") return stages.layers[stage.layer]!
    return stage === "norm" ? stages.norm : stages.output
  }
}
