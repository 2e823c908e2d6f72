/** The folder of a training run, as Effects: averages of its iterations, and fewer of them. */
import { Effect } from "effect"
import type { ConversionError, JobError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import { preparePrune as planPrune, type PreparedPrune, type PruneOptions } from "../prune/prune.ts"
import { type AverageOptions, type AverageReport, prepareAverage as planAverage } from "../reshard/mergeIterations.ts"
import type { WritingRun } from "../reshard/writing.ts"
import { meter, type Watched } from "./progress.ts"

export type { PreparedPrune, PrunedIteration, PruneOptions, PruneReport } from "../prune/prune.ts"
export type { AverageOptions, AverageReport } from "../reshard/mergeIterations.ts"

/** Which iterations are averaged, and how the average is written. */
export interface AverageRequest extends AverageOptions, Watched, Partial<Omit<WritingRun, "progress" | "link">> {}

/** An average that is planned. */
export interface PreparedAverage {
  readonly report: AverageReport
  readonly run: (target: string, options: Omit<WritingRun, "link">) => Effect.Effect<AverageReport, JobError, Disk>
}

/** Plan an average of iterations of the run in `from`. UsageError for weights that are none; PlanRefused `average/unlike`. */
export const prepareAverage = (from: string, options: AverageOptions): Effect.Effect<PreparedAverage, ConversionError, Disk> =>
  planAverage(from, options).pipe(Effect.map(({ report, run }) => ({ report, run: (target, own) => run(target, { ...own, link: false }) })))

/**
 * Write the weighted mean of several iterations' weights as a checkpoint of its own, named after the newest of them: sums in F32, rounded
 * once to each tensor's dtype. Atomic: the target is complete or as it was.
 */
export const mergeIterations = (from: string, target: string, request: AverageRequest): Effect.Effect<AverageReport, JobError, Disk> =>
  Effect.gen(function*() {
    const { report, run } = yield* prepareAverage(from, request)
    const { add, total } = meter("writing", request)
    if (request.onProgress) total(report.writtenBytes)
    return yield* run(target, { overwrite: false, ...request, progress: add })
  })

/** Plan to prune a training folder: {@link PreparedPrune.run} removes what the report says. Nothing is touched before. */
export const preparePrune = (directory: string, options: PruneOptions): Effect.Effect<PreparedPrune, ConversionError, Disk> => planPrune(directory, options)
