/** Hugging Face → Megatron → Hugging Face, and every tensor compared with what it was. */
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { verifyHf } from "../verify/verify.ts"
import type { TensorVerdict, VerifyReport } from "../verify/pairing.ts"
import type { EngineLimits } from "../engine/index.ts"
import { type JobError, UsageError } from "../errors.ts"
import { checking, uninterruptibly } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { assemblyAt, exportedParts, pathOfAssembly } from "../space/Assembly.ts"
import { openStoredWeights } from "../space/openStoredWeights.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { type ConversionReport, prepareExport, prepareImport, type RunOptions } from "./conversions.ts"
import { measured, meter, type Watched } from "./progress.ts"
import { type Arrangement, familiesOf, type WithFamilies } from "./requests.ts"

/** Phases of `onProgress`: `importing` (unless a checkpoint is taken), `exporting`, `comparing`. How the checkpoint between the two models is laid out, what is kept, and how the work runs. */
export interface RoundtripRequest extends WithFamilies, Watched, Arrangement, EngineLimits, Pick<RunOptions, "onKept" | "onWait"> {
  /** Folder for what is removed afterwards: a checkpoint and a model, each as large as the model. Default: the system's for temporary files. */
  readonly workDirectory?: string
  /** Take this checkpoint instead of importing one. */
  readonly loadMegatron?: string
  /** Keep the checkpoint, here. */
  readonly saveMegatron?: string
  /** Keep the exported model, here. */
  readonly saveHf?: string
  /** Replace what is at the two. Default: false. */
  readonly overwrite?: boolean
}

/** A tensor of the original or of the export, and whether the two agree. */
export interface RoundtripTensor extends TensorVerdict {
  /** Of the original; absent for a tensor that only the export has. */
  readonly dtype?: DType
  readonly shape?: Shape
}

/** What became of every tensor, and what was kept on disk. */
export interface RoundtripReport extends Omit<VerifyReport, "left" | "right" | "tensors">, Pick<ConversionReport, "architecture" | "family" | "form" | "components"> {
  readonly hfModel: string
  /** Every tensor, equal or not. */
  readonly tensors: ReadonlyArray<RoundtripTensor>
  /** What was kept. */
  readonly megatronPath?: string
  readonly hfPath?: string
}

/** A folder that goes away, whatever happens. */
const temporary = (parent: string) =>
  Effect.acquireRelease(
    Effect.flatMap(Disk, (disk) => {
      const folder = join(parent, `megatron-mimo-roundtrip-${randomUUID()}`)
      return Effect.as(uninterruptibly(() => disk.makeDirectory(folder)), { disk, folder })
    }),
    ({ disk, folder }) => Effect.promise(() => disk.removeTree(folder).catch(() => {}))
  ).pipe(Effect.map(({ folder }) => folder))

const bytesOf = ({ files }: ConversionReport): number => files.reduce((sum, { bytes }) => sum + bytes, 0)

/** What an export of a model wrote, as the same kind of model. Errors: UsageError. */
const exportedAs = (hfModel: string, directory: string): string => {
  const assembly = assemblyAt(hfModel)
  if (assembly?.whole) throw new UsageError({ code: "usage/assembly", problem: `a round trip compares the parts, and an export of ${assembly.whole.architecture} as one has none`, hint: "Put the model together without `whole`." })
  return assembly ? pathOfAssembly(exportedParts(assembly, directory)) : directory
}

/**
 * Import `hfModel` to a checkpoint, export that again, and compare: equal means the same bytes, dtype and shape under the same name. Of a
 * model that is put together, the parts.
 *
 * @throws what an import and an export fail with
 */
export const roundtrip = (hfModel: string, request: RoundtripRequest = {}): Effect.Effect<RoundtripReport, JobError, Disk> =>
  Effect.scoped(Effect.gen(function*() {
    const { concurrency, io, loadMegatron, maxMemory, onKept, onWait, overwrite = false, saveHf, saveMegatron, threads, workDirectory = tmpdir() } = request
    const engine: EngineLimits = {
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(io === undefined ? {} : { io }),
      ...(maxMemory === undefined ? {} : { maxMemory }),
      ...(threads === undefined ? {} : { threads })
    }
    const run = { ...engine, overwrite, ...(onKept ? { onKept } : {}), ...(onWait ? { onWait } : {}) }
    const folder = yield* temporary(workDirectory)
    const megatron = loadMegatron ?? saveMegatron ?? join(folder, "megatron")
    const hf = saveHf ?? join(folder, "hf")
    const back = yield* checking(() => exportedAs(hfModel, hf))
    const notes: Array<string> = []

    if (loadMegatron === undefined) {
      const planned = yield* prepareImport(hfModel, request)
      notes.push(...planned.report.notes)
      const { add, total } = meter("importing", request)
      total(bytesOf(planned.report))
      yield* planned.run(megatron, { ...run, progress: add })
    }
    const planned = yield* prepareExport(hfModel, megatron, request)
    const exporting = meter("exporting", request)
    exporting.total(bytesOf(planned.report))
    const exported = yield* planned.run(hf, { ...run, progress: exporting.add })
    const { bytes, equal, tensors, total } = yield* verifyHf(hfModel, back, { ...engine, ...measured("comparing", request) }, familiesOf(request))
    const original = (yield* openStoredWeights(hfModel, familiesOf(request))).tensors
    const { architecture, components, family, form } = exported
    return {
      hfModel,
      architecture,
      family,
      form,
      components,
      equal,
      total,
      bytes,
      tensors: tensors.map((verdict) => {
        const side = original.get(verdict.name)
        return side ? { ...verdict, dtype: side.dtype, shape: side.shape } : verdict
      }),
      ...(loadMegatron === undefined && saveMegatron !== undefined ? { megatronPath: saveMegatron } : {}),
      ...(saveHf === undefined ? {} : { hfPath: saveHf }),
      notes: [...notes, ...exported.notes]
    }
  }))
