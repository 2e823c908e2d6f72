import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { attempt } from "../../api/ground.ts"
import { pullVersion, type PullReport } from "../../api/rollout.ts"
import * as flags from "../flags/index.ts"
import { onWait } from "../interruption.ts"
import { emit } from "../output.ts"
import { pathArgument, pathFlag } from "../paths.ts"
import { withProgress } from "../progress.ts"
import { bold, bytes, plural } from "../text.ts"

const renderPull = ({ applied, bytes: changed, found, from, local, notes, rebuilt, seeded, tensors, version }: PullReport): string => {
  const lines = [`${bold(local)} is version ${version}${from === undefined || from === version ? "" : `, and was ${from}`}`]
  if (seeded !== undefined) lines.push(seeded === 0 ? "  the model was copied as a whole" : `  version ${seeded} was copied as a whole`)
  if (applied.length > 0) lines.push(`  ${plural(applied.length, "delta")} applied: ${plural(tensors, "tensor")}, ${bytes(changed)}`)
  if (found > 0) lines.push(`  ${plural(found, "tensor")} had been changed by a pull that was cut short`)
  if (rebuilt > 0) lines.push(`  ${plural(rebuilt, "tensor")} had been changed in part by it, and were made anew`)
  for (const note of notes) lines.push(`${bold("note")} ${note}`)
  return lines.join("\n")
}

export const pullCommand = Command.make("pull", {
  root: pathArgument("root", "directory").pipe(Argument.withDescription("Folder of versions, here or elsewhere (s3://…)")),
  local: pathArgument("local", "directory").pipe(Argument.withDescription("The copy that an engine loads from; it is made if it is missing")),
  version: Flag.Int("to").pipe(Flag.withMetavar("N"), Flag.withDescription("Version to bring it to, an earlier one too. Default: the newest"), Flag.optional),
  model: pathFlag("model", "directory").pipe(Flag.withMetavar("DIR"), Flag.withDescription("The model that engines were started with: what deltas are applied to where no full version was published"), Flag.optional),
  fresh: Flag.Boolean("fresh").pipe(Flag.withDescription("Copy the last full version anew, whatever is there"), Flag.withDefault(false)),
  ...flags.engine,
  ...flags.told
}, Effect.fn("pull")(function*(input) {
  const engine = yield* attempt(() => flags.engineOptions(input))
  const report = yield* withProgress("pulling", input, (progress) => pullVersion(input.root, input.local, {
    ...engine, fresh: input.fresh, onWait, onProgress: progress.onProgress,
    ...(Option.isSome(input.version) ? { version: input.version.value } : {}),
    ...(Option.isSome(input.model) ? { model: input.model.value } : {})
  }))
  yield* emit("pull", input, report, renderPull)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo pull ./versions ./local", description: "The newest version" },
    { command: "convert_megatron_mimo pull ./versions ./local --to 1", description: "An earlier version" }
  ])
)
