import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { type Diagnosis, examine, examineMachine } from "../../api/checkpoints.ts"
import { checkpointPath, modelPath } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import { ExitCode } from "../../errors.ts"
import * as flags from "../flags/index.ts"
import { wrap } from "../help.ts"
import { refuseIdle } from "../idle.ts"
import { emit } from "../output.ts"
import { bad, bold, dim, good, plural, terminalWidth } from "../text.ts"
import { engineSecret, secretOf } from "../flags/access.ts"
import { examineEngine } from "../../api/rollout.ts"
import { pathArgument, pathFlag } from "../paths.ts"

const MARKS = { error: bad("✗"), warning: bold("!"), note: dim("·"), ok: good("✓") } as const
/** Longer lines are tiring to read. */
const WIDEST = 78

const indented = (text: string, indent: string): string => wrap(text, Math.min(WIDEST, terminalWidth()) - indent.length).join(`\n${indent}`)

const renderDiagnoses = (found: ReadonlyArray<Diagnosis>): string =>
  found.map((d) => `${MARKS[d.severity]} ${indented(d.text, "  ")}${d.fix === undefined ? "" : `\n    ${dim(indented(`→ ${d.fix}`, "      "))}`}${d.command === undefined ? "" : `\n      ${d.command}`}`).join("\n")

const verdict = (found: ReadonlyArray<Diagnosis>): string => {
  const count = (severity: Diagnosis["severity"]) => found.filter((d) => d.severity === severity).length
  const [errors, warnings] = [count("error"), count("warning")]
  if (errors + warnings === 0) return good("nothing is wrong")
  return [errors > 0 ? bad(plural(errors, "error")) : "", warnings > 0 ? plural(warnings, "warning") : ""].filter(Boolean).join(", ")
}

export const doctorCommand = Command.make("doctor", {
  path: pathArgument("path", "either").pipe(Argument.withDescription("Checkpoint to examine; without it, the machine is"), Argument.optional),
  directory: pathFlag("dir", "directory").pipe(
    Flag.withMetavar("DIR"),
    Flag.withDescription("Directory whose file system is tried when the machine is examined. Default: the current one"),
    Flag.optional
  ),
  hfModel: flags.hfModel.pipe(Flag.withDescription("Of adapters: their base model, which tells whether it has the modules that they are for"), Flag.optional),
  engine: Flag.String("engine").pipe(
    Flag.withMetavar("URL"),
    Flag.withDescription("Ask a running SGLang or vLLM by which ways new weights can come to it"),
    Flag.optional
  ),
  ...engineSecret,
  family: flags.family,
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("doctor")(function*(input) {
  yield* attempt(() => refuseIdle(
    ["--auth-file", Option.isSome(input.authFile) && Option.isNone(input.engine), "there is no --engine"],
    ["--auth-env", Option.isSome(input.authEnv) && Option.isNone(input.engine), "there is no --engine"]
  ))
  if (Option.isSome(input.engine)) {
    yield* attempt(() => refuseIdle(["PATH", Option.isSome(input.path), "an engine is examined"], ["--dir", Option.isSome(input.directory), "an engine is examined"], ["--family", input.family.length > 0, "an engine is examined"]))
    const report = yield* examineEngine(input.engine.value, secretOf(input))
    return yield* emit("doctor", input, report, ({ found }) => [renderDiagnoses(found), verdict(found)].filter((t) => t !== "").join("\n\n"), report.sound ? ExitCode.ok : ExitCode.different)
  }
  if (Option.isSome(input.path)) yield* attempt(() => refuseIdle(["--dir", Option.isSome(input.directory), "a checkpoint is examined, not the machine"]))
  else yield* attempt(() => refuseIdle(["--hf-model", Option.isSome(input.hfModel), "the machine is examined, not an adapter"], ["--family", input.family.length > 0, "the machine is examined, not a checkpoint"]))
  const families = yield* flags.namedFamilies(input)
  const report = Option.isSome(input.path)
    ? yield* examine(yield* checkpointPath(input.path.value), { ...families, ...(Option.isSome(input.hfModel) ? { hfModel: yield* modelPath(input.hfModel.value) } : {}) })
    : yield* examineMachine(Option.getOrElse(input.directory, () => "."))
  yield* emit("doctor", input, report, ({ found }) => [renderDiagnoses(found), verdict(found)].filter((t) => t !== "").join("\n\n"), report.sound ? ExitCode.ok : ExitCode.different)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo doctor", description: "The machine, and unfinished work in the current directory" },
    { command: "convert_megatron_mimo doctor ./megatron", description: "A checkpoint" },
    { command: "convert_megatron_mimo doctor ./adapter --hf-model ./hf", description: "An adapter: would a loader drop or scale something without a word?" }
  ])
)
