/** Sample checkpoints, to try and to measure with. */
import { Effect } from "effect"
import { type SampleSize, samples } from "../../routes/samples/index.ts"
import { type SampleReport, writeSample as write } from "../conformance/Sample.ts"
import { type JobError, quote, UsageError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import { measured, type Watched } from "./progress.ts"
import { familiesOf, type WithFamilies } from "./requests.ts"

export type { SampleReport, SampleSize }

/** Names of the models that {@link writeSample} can write. */
export const sampleModels = Object.keys(samples) as [string, ...Array<string>]
export const sampleSizes = ["tiny", "small", "1GB", "10GB"] as const satisfies ReadonlyArray<SampleSize>

/** Which sample, and how large. */
export interface SampleRequest extends WithFamilies, Watched {
  /** One of {@link sampleModels}. Default: the first. */
  readonly model?: string
  /** `tiny` (a few MB, the default), `small` (some 100 MB), or published dimensions. */
  readonly size?: SampleSize
  /** Replace what is there. Default: false. */
  readonly overwrite?: boolean
}

/**
 * Write a deterministic Hugging Face checkpoint: real structure, generated weights.
 *
 * @throws UsageError for a model that is not among the {@link sampleModels}; OutputRefused, NoSpace, IoError.
 */
export const writeSample = (directory: string, request: SampleRequest = {}): Effect.Effect<SampleReport, JobError, Disk> => {
  const { model = sampleModels[0], overwrite = false, size = "tiny" } = request
  const sizes = Object.hasOwn(samples, model) ? samples[model] : undefined
  if (!sizes) return Effect.fail(new UsageError({ problem: `there is no sample ${quote(model)}`, hint: `There are ${sampleModels.join(", ")}.` }))
  return write(familiesOf(request), sizes[size], directory, { overwrite, ...measured("writing", request) })
}
