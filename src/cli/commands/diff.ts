import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { diff, type DiffKind, type DiffReport, type TensorDiff } from "../../api/checkpoints.ts"
import { checkpointPath, modelPath } from "../../api/conversions.ts"
import { attempt } from "../../api/ground.ts"
import { pageTargets, writeReports } from "../../api/reportFiles.ts"
import { ExitCode, quote } from "../../errors.ts"
import { cleaned } from "../../quote.ts"
import * as flags from "../flags/index.ts"
import { idleEngine, refuseIdle } from "../idle.ts"
import { emit } from "../output.ts"
import { withProgress } from "../progress.ts"
import { bad, bold, dim, fits, good, plural, table } from "../text.ts"
import { pathArgument } from "../paths.ts"

const MOST_LINES = 200

const figure = (n: number | undefined): string => (n === undefined ? "" : String(Number(n.toPrecision(4))))

const shown = (side: TensorDiff["left"]): string => (side ? `${side.dtype} [${side.shape.join(", ")}]` : "")

const row = (t: TensorDiff): ReadonlyArray<string> => {
  const d = t.distance
  const what = t.kind === "missing" ? `only left: ${shown(t.left)}` : t.kind === "extra" ? `only right: ${shown(t.right)}` : t.kind === "values" ? shown(t.left) : `${shown(t.left)} → ${shown(t.right)}`
  return [t.kind, quote(t.name), what, d ? `${d.differing}/${d.elements}` : "", figure(d?.maxAbsDiff), figure(d?.norm), figure(d?.relative)]
}

/** Sums by component and kind. */
const summary = (report: DiffReport): string => {
  const components = [...new Set(report.tensors.map((t) => t.component))].sort()
  const kinds = ["missing", "extra", "shape", "dtype", "values"] as const
  return table([
    ["component", ...kinds],
    ...components.map((c) => [c, ...kinds.map((k) => String(report.tensors.filter((t) => t.component === c && t.kind === k).length))])
  ])
}

const HEAD = ["", "tensor", "", "differ", "max |a-b|", "‖a-b‖", "relative"]

/** In columns where the terminal has room for them; else what differs stands below the name. */
const rows = (tensors: ReadonlyArray<TensorDiff>): string => {
  const cells = tensors.map(row)
  const wide = table([HEAD, ...cells])
  if (fits(wide)) return wide
  return cells.map(([kind, name, what, ...figures]) =>
    [`  ${kind!.padEnd(7)}  ${name}`, `    ${what}`, figures.map((f, k) => (f === "" ? "" : `${HEAD[k + 3]} ${f}`)).filter((f) => f !== "").join("  ")]
      .map((line, k) => (k === 2 && line !== "" ? `    ${line}` : line)).filter((line) => line !== "").join("\n")).join("\n")
}

const KINDS: Readonly<Record<DiffKind, string>> = { missing: "missing", extra: "extra", shape: "of another shape", dtype: "of another dtype", values: "of other values" }

const renderDiff = (report: DiffReport, brief: boolean): string => {
  const blocks: Array<string> = []
  if (report.tensors.length > 0 && brief) blocks.push(summary(report))
  else if (report.tensors.length > 0) {
    blocks.push(rows(report.tensors.slice(0, MOST_LINES)))
    if (report.tensors.length > MOST_LINES) blocks.push(dim(`  … ${report.tensors.length} in all (--json lists every one)`))
  }
  for (const note of report.notes) blocks.push(`${bold("note")} ${note}`)
  const what = `${report.equal} of ${plural(report.total, "tensor")} ${report.compared ? "equal" : "alike (headers only)"}`
  const kinds = (Object.keys(KINDS) as ReadonlyArray<DiffKind>).filter((kind) => report.counts[kind] > 0).map((kind) => `${report.counts[kind]} ${KINDS[kind]}`).join(", ")
  blocks.push(report.tensors.length === 0 ? good(what) : bad(`${what}; ${kinds}`))
  return blocks.join("\n\n")
}

export const diffCommand = Command.make("diff", {
  left: pathArgument("a", "either").pipe(Argument.withDescription("Checkpoint of any kind that inspect reads")),
  right: pathArgument("b", "either").pipe(Argument.withDescription("Another; a Hugging Face and a Megatron one are compared through the family's mapping")),
  filter: Flag.String("filter").pipe(
    Flag.withAlias("f"),
    Flag.withMetavar("GLOB"),
    Flag.withDescription("Compare only tensors whose name matches. Repeatable"),
    Flag.between(0, 100)
  ),
  frozen: Flag.String("frozen").pipe(
    Flag.withMetavar("PART"),
    Flag.withDescription(`Compare only what this part, frozen in training, must have kept: ${flags.FROZEN_PARTS}`),
    Flag.between(0, 100)
  ),
  hfModel: flags.hfModel.pipe(Flag.withDescription("With --frozen the model's directory, where neither side is one; base model of adapters, where those of peft are compared with those of a Megatron checkpoint"), Flag.optional),
  headers: Flag.Boolean("headers").pipe(Flag.withDescription("Names, shapes and dtypes only: nothing of the data is read"), Flag.withDefault(false)),
  summary: Flag.Boolean("summary").pipe(Flag.withDescription("Counts only; distances are not measured"), Flag.withDefault(false)),
  report: flags.page,
  ...flags.engine,
  family: flags.family,
  ...flags.told
}, Effect.fn("diff")(function*(input) {
  yield* attempt(() => refuseIdle(...idleEngine(input, input.headers, "--headers reads no tensors")))
  const engine = yield* attempt(() => flags.engineOptions(input))
  const [left, right] = [yield* checkpointPath(input.left), yield* checkpointPath(input.right)]
  const families = yield* flags.namedFamilies(input)
  const targets = yield* pageTargets("diff", Option.getOrUndefined(input.report))
  const base = Option.isSome(input.hfModel) ? { hfModel: yield* modelPath(input.hfModel.value) } : {}
  const started = performance.now()
  const report = yield* withProgress("comparing", input, ({ onProgress }) =>
    diff(left, right, {
      ...engine,
      ...families,
      headers: input.headers,
      ...base,
      norms: !input.summary,
      filter: input.filter,
      frozen: input.frozen,
      onProgress
    }))
  const { tensors, ...counts } = report
  yield* writeReports(targets, { command: "diff", paths: [left, right], seconds: (performance.now() - started) / 1000, diff: report, ...families })
  yield* emit("diff", input, input.summary ? counts : { ...counts, tensors }, () => renderDiff(cleaned(report), input.summary), tensors.length > 0 ? ExitCode.different : ExitCode.ok)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo diff ./base ./finetuned", description: "What did training change?" },
    { command: "convert_megatron_mimo diff ./hf ./megatron --summary", description: "Across formats, counts only" },
    { command: "convert_megatron_mimo diff ./base ./finetuned --frozen images", description: "Has training left the encoder alone?" },
    { command: "convert_megatron_mimo diff ./base ./finetuned --report diff.html", description: "And a page: which modules changed, layer by layer" }
  ])
)
