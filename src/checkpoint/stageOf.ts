/** The pipeline stage of every entry of a module under a layout. */
import { UsageError } from "../errors.ts"
import type { Entry } from "../model/Parameter.ts"
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import { pipelineChunks, type PipelineStages } from "../parallel/PipelineSplit.ts"

/** All that a pipeline asks of an entry. */
export type Staged = Pick<Entry, "stage" | "mtp">

export type StageOf<E extends Staged = Entry> = (entry: E) => number

/** Without layers that are dealt out there is a first stage and a last. */
const ends = (pp: number): PipelineStages => ({ layers: [], embedding: 0, output: pp - 1, norm: pp - 1, mtp: pp - 1 })

interface StageOptions<E> {
  /** The entry belongs to a tower of a standard model, which is on the first stage as a whole. */
  readonly isTower?: (entry: E) => boolean
  /** Layers of multi-token prediction, as many as the trainer builds. */
  readonly mtpLayers?: number
}

/**
 * The chunk of the model that an entry is in: chunk c is on stage `c % pp`, as its virtual stage `⌊c / pp⌋`.
 *
 * @throws UsageError if the layers do not fit the pipeline
 */
export const modelChunks = <E extends Staged>(
  { pipeline, pp }: ModuleParallelism,
  entries: ReadonlyArray<E>,
  { isTower = () => false, mtpLayers = 0 }: StageOptions<E> = {}
): StageOf<E> => {
  if (pp === 1 && pipeline === undefined) return () => 0
  const staged = entries.find((entry) => typeof entry.stage === "object" && !isTower(entry))?.stage
  if (typeof staged !== "object" && pipeline !== undefined) throw new UsageError({ problem: "an uneven pipeline, but there are no layers to deal out" })
  const chunks = typeof staged === "object" ? pipelineChunks(staged.of, pp, pipeline, mtpLayers) : ends(pp)
  return (entry) => {
    const { mtp, stage } = entry
    if (isTower(entry) || stage === "first") return chunks.embedding
    if (mtp) return chunks.mtp
    if (typeof stage === "object") return chunks.layers[stage.layer]!
    return stage === "norm" ? chunks.norm : chunks.output
  }
}

/** The stage that an entry is on. @throws UsageError if the layers do not fit the pipeline */
export const stagesOf = <E extends Staged>(parallelism: ModuleParallelism, entries: ReadonlyArray<E>, options: StageOptions<E> = {}): StageOf<E> => {
  const chunkOf = modelChunks(parallelism, entries, options)
  return (entry) => chunkOf(entry) % parallelism.pp
}
