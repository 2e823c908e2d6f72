import { Effect, Option } from "effect"
import { Argument, Command } from "effect/cli"
import { type Support, supported, verification } from "../../api/models.ts"
import { UsageError } from "../../errors.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { wrap } from "../help.ts"
import { bold, fits, plural, table, terminalWidth } from "../text.ts"

const HEAD = ["architecture", "family", "MIMO components", "MTP", "quantised", "verified by"]

/** `FP8 E4M3, 128×128 blocks` → `FP8`. */
const shortForm = (form: string): string => form.split(/[ ,]/)[0]!

const row = (s: Support): ReadonlyArray<string> => [
  s.architecture,
  s.family,
  s.components.length === 0 ? "-" : s.components.join("+") + (s.trainable ? "" : "*"),
  s.mtp ? "yes" : "-",
  [...new Set(s.quantized.map(shortForm))].join(", ") || "-",
  verification(s)
]

const wrapped = (text: string, indent: number): string => wrap(text, terminalWidth() - indent).map((line) => " ".repeat(indent) + line).join("\n")

/** What a narrow terminal shows: the rest of the row below the name, empty cells left out. */
const block = (s: Support): string => {
  const [architecture, family, components, mtp, quantized, verified] = row(s)
  const rest = [`family ${family}`, components, mtp === "-" ? "-" : "MTP", quantized, verified].filter((cell) => cell !== "-").join("; ")
  return `${bold(architecture!)}\n${wrapped(rest, 2)}`
}

const text = (models: ReadonlyArray<Support>): string => {
  const both = models.filter((s) => s.import && s.export).length
  const wide = table([HEAD, ...models.map(row)])
  const isNarrow = !fits(wide)
  return [
    isNarrow ? models.map(block).join("\n") : wide,
    "",
    `${plural(models.length, "architecture")}, ${both === models.length ? "all" : both} in both directions.`,
    "quantised: forms that a test model has; every family reads all of them.",
    "case: a checkpoint of the reference, reproduced key by key. from GPUs: trained there; exported, it computes what the trainer computed.",
    "logits: transformers computes the same before and after a round trip (of encoders hidden states), and the bytes are the same.",
    "forward: our forward check computes what transformers computes. round trip: a generated checkpoint that comes back byte for byte.",
    ...(models.some((s) => s.components.length > 0 && !s.trainable) ? ["* no released trainer loads the MIMO form yet."] : [])
  ].map((part, i) => (i === 0 || !isNarrow ? part : wrapped(part, 0))).join("\n")
}

export const modelsCommand = Command.make("models", {
  filter: Argument.String("filter").pipe(Argument.withDescription("Only architectures and families whose name has this in it"), Argument.optional),
  json: flags.json
}, Effect.fn("models")(function*({ filter, json }) {
  const wanted = Option.getOrElse(filter, () => "").toLowerCase()
  const models = supported.filter((s) => s.architecture.toLowerCase().includes(wanted) || s.family.toLowerCase().includes(wanted))
  if (models.length === 0) {
    return yield* new UsageError({ problem: `no architecture and no family has ${wanted} in its name`, hint: "`convert_megatron_mimo models` lists all." })
  }
  yield* emit("models", { json, quiet: false }, { models }, () => text(models))
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo models", description: "All of them" },
    { command: "convert_megatron_mimo models moe --json", description: "Some of them, as JSON" }
  ])
)
