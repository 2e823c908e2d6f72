/** Which models are known, samples of some, and a start for those that are not. */
import { Effect } from "effect"
import { basename, dirname, join, resolve } from "node:path"
import { type SampleSize, samples } from "../../routes/samples/index.ts"
import { verified } from "../../routes/verified.ts"
import { scaffold } from "../../routes/scaffold/index.ts"
import { recognise } from "../recognise/patterns.ts"
import type { Support } from "../bridge/Support.ts"
import { type SampleReport, writeSample as write } from "../conformance/Sample.ts"
import { openHfSource } from "../space/HfSource.ts"
import { type BridgeError, quote, UsageError } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { present } from "../store/present.ts"
import { makeFolders, writeSmall } from "../io/small.ts"
import { measured, type Watched } from "./progress.ts"
import { familiesOf, type WithFamilies } from "./requests.ts"

export { type Support, verification } from "../bridge/Support.ts"
export type { SampleReport, SampleSize }

/** Every supported architecture, and how it is verified. */
export const supported: ReadonlyArray<Support> = verified

/** Python classes that a run configuration may name. */
export const knownProviders: ReadonlyArray<string> = verified.flatMap((v) => v.providers)

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
export const writeSample = (directory: string, request: SampleRequest = {}): Effect.Effect<SampleReport, BridgeError, Disk> => {
  const { model = sampleModels[0], overwrite = false, size = "tiny" } = request
  const sizes = Object.hasOwn(samples, model) ? samples[model] : undefined
  if (!sizes) return Effect.fail(new UsageError({ problem: `there is no sample ${quote(model)}`, hint: `There are ${sampleModels.join(", ")}.` }))
  return write(familiesOf(request), sizes[size], directory, { overwrite, ...measured("writing", request) })
}

export interface Scaffold {
  readonly architecture: string
  /** A TypeScript module. */
  readonly text: string
  /** Where it was written. */
  readonly file?: string
}

/** What shows, beside the folder of a new family, that this is the repository: its families import from files. */
const FAMILY_SOURCE = join("src", "bridge", "Family.ts")

/** A starter family file for the model in `hfModel`; written to `file` (which must be free) if it is given, with the folders above it. */
export const scaffoldFamily = (hfModel: string, file?: string): Effect.Effect<Scaffold, BridgeError, Disk> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const { architecture, json: config, weights } = yield* openHfSource(hfModel)
    const inRepository = file !== undefined && basename(dirname(resolve(file))) === "routes" &&
      (yield* attempt(() => present(disk, join(dirname(resolve(file)), "..", FAMILY_SOURCE)))) !== undefined
    const text = scaffold({ architecture, config, patterns: recognise(weights.tensors.values()), inRepository })
    if (file === undefined) return { architecture, text }
    yield* attempt(async () => {
      await makeFolders(disk, dirname(file))
      await writeSmall(disk, file, Buffer.from(text))
    })
    return { architecture, text, file }
  })
