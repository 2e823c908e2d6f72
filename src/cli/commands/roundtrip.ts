import { Effect, Option } from "effect"
import { Command, Flag } from "effect/cli"
import { join, parse, resolve } from "node:path"
import { isAssemblyFile } from "../../api/assembly.ts"
import { prepareExport, prepareImport } from "../../api/conversions.ts"
import { type RoundtripReport, type RoundtripTensor, roundtrip } from "../../api/roundtrip.ts"
import { ExitCode, quote, UsageError } from "../../errors.ts"
import { attempt } from "../../api/ground.ts"
import * as flags from "../flags/index.ts"
import { onKept, onWait } from "../interruption.ts"
import { refuseIdle } from "../idle.ts"
import { emit } from "../output.ts"
import { pathFlag } from "../paths.ts"
import { withPhases } from "../progress.ts"
import { renderReport } from "../render.ts"
import { bad, bold, fits, good, table } from "../text.ts"

const saved = (name: string, what: string) => pathFlag(name, "directory").pipe(Flag.withMetavar("DIR"), Flag.withDescription(what), Flag.optional)

const mark = ({ status }: RoundtripTensor): string => (status === "equal" ? good("✓") : bad("✗"))

/** As Python writes a tuple. */
const tuple = (shape: ReadonlyArray<number> = []): string => (shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`)

const cells = (t: RoundtripTensor): ReadonlyArray<string> =>
  [quote(t.name), tuple(t.shape), t.dtype ?? "", t.status === "equal" ? mark(t) : `${mark(t)} ${t.detail ?? t.status}`]

const HEAD = ["Weight Name", "Shape", "DType", "Matches Original"]

/** The reference's table; on a narrow terminal, shape and dtype stand below the name. */
const weights = (tensors: ReadonlyArray<RoundtripTensor>): string => {
  const wide = table([HEAD, ...tensors.map(cells)])
  if (fits(wide)) return wide
  return tensors.map(cells).map(([name, shape, dtype, verdict]) => `${verdict}  ${name}\n   ${shape} ${dtype}`).join("\n")
}

const renderRoundtrip = (r: RoundtripReport): string => {
  const sum = `Weight verification: ${r.equal}/${r.total} compared weights matched`
  const kept = [...(r.megatronPath ? [`checkpoint kept: ${r.megatronPath}`] : []), ...(r.hfPath ? [`exported model kept: ${r.hfPath}`] : [])]
  return [
    bold("Hugging Face Weights Verification"),
    weights(r.tensors),
    ...(r.notes.length > 0 ? [r.notes.map((note) => `${bold("note")} ${note}`).join("\n")] : []),
    ...(kept.length > 0 ? [kept.join("\n")] : []),
    r.equal === r.total ? good(sum) : bad(sum)
  ].join("\n\n")
}

export const roundtripCommand = Command.make("roundtrip", {
  hfModel: flags.hfModels,
  ...flags.assembly,
  hfRevision: flags.hfRevision,
  component: flags.component,
  ...flags.standard,
  outputDir: saved("output-dir", "Keep the exported model, in a folder of its own name in this one"),
  megatronSavePath: saved("megatron-save-path", "Keep the checkpoint here"),
  megatronLoadPath: saved("megatron-load-path", "Take this checkpoint instead of importing one"),
  skipSave: Flag.Boolean("skip-save").pipe(Flag.withDescription("Keep nothing, whatever the flags above say"), Flag.withDefault(false)),
  workDir: saved("work-dir", "Folder for what is removed afterwards, twice the size of the model. Default: the system's for temporary files"),
  overwrite: flags.overwrite,
  dryRun: flags.dryRun,
  trustRemoteCode: flags.trustRemoteCode,
  ...flags.engine,
  family: flags.family,
  ...flags.told
}, Effect.fn("roundtrip")(function*(input) {
  const hfModel = yield* flags.modelOf(input)
  const { arrangement, engine } = yield* attempt(() => ({ arrangement: flags.arrangementOf(input), engine: flags.engineOptions(input) }))
  const [load, save] = [Option.getOrUndefined(input.megatronLoadPath), input.skipSave ? undefined : Option.getOrUndefined(input.megatronSavePath)]
  if (load !== undefined && save !== undefined) return yield* new UsageError({ problem: "--megatron-load-path and --megatron-save-path exclude each other", hint: "What is loaded is there already." })
  yield* attempt(() => refuseIdle(["--overwrite", input.overwrite && (input.skipSave || (save === undefined && Option.isNone(input.outputDir))), "nothing is kept; --output-dir and --megatron-save-path keep something"]))
  const families = yield* flags.namedFamilies(input)
  const output = input.skipSave ? undefined : Option.getOrUndefined(input.outputDir)
  const name = Option.getOrElse(input.recipe, () => parse(resolve(input.hfModel))[isAssemblyFile(input.hfModel) ? "name" : "base"])
  if (input.dryRun) {
    const { report } = load === undefined ? yield* prepareImport(hfModel, { ...arrangement, ...families }) : yield* prepareExport(hfModel, load, families)
    return yield* emit("roundtrip", input, report, (r) => renderReport(r, undefined, false))
  }
  const report = yield* withPhases(input, (onProgress) => roundtrip(hfModel, {
    ...families,
    ...arrangement,
    ...engine,
    overwrite: input.overwrite,
    ...(load === undefined ? {} : { loadMegatron: load }),
    ...(save === undefined ? {} : { saveMegatron: save }),
    ...(output === undefined ? {} : { saveHf: join(output, name) }),
    ...(Option.isSome(input.workDir) ? { workDirectory: input.workDir.value } : {}),
    onKept,
    onWait,
    onProgress
  }))
  yield* emit("roundtrip", input, report, renderRoundtrip, report.equal === report.total ? ExitCode.ok : ExitCode.different)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo roundtrip --hf-model ./hf", description: "Nothing is kept" },
    { command: "convert_megatron_mimo roundtrip --hf-model ./hf --tp 2 --pp 2 --output-dir ./out", description: "Through a standard checkpoint; ./out/hf is kept" }
  ])
)
