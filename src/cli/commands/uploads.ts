import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { attempt } from "../../api/ground.ts"
import { uploads, type UploadsReport } from "../../api/uploads.ts"
import { UsageError } from "../../errors.ts"
import * as flags from "../flags/index.ts"
import { emit } from "../output.ts"
import { pathArgument } from "../paths.ts"
import { bold, bytes, plural } from "../text.ts"

const renderUploads = ({ aborted, place, runs, uploads: found }: UploadsReport): string => {
  const lines = runs.map(({ running, target, uploadedBytes }) =>
    `${bold(target)}\n  ${bytes(uploadedBytes)} uploaded, not published; ${aborted ? "given up" : running ? "its process runs" : "--resume goes on"}`)
  if (place === undefined) return lines.length === 0 ? "This machine remembers no unfinished upload." : lines.join("\n\n")
  const rows = found.map(({ bytes: size, object, parts, remembered, since }) =>
    `  ${object}  ${bytes(size)} in ${plural(parts, "part")}${since === undefined ? "" : `, since ${since}`}${remembered ? "" : ", begun elsewhere"}`)
  const head = found.length === 0 ? `${place} has no unfinished upload.` : `${bold(aborted ? "aborted" : "unfinished")}${aborted ? "" : " (--abort removes them)"}\n${rows.join("\n")}`
  return [...lines, head].join("\n\n")
}

export const uploadsCommand = Command.make("uploads", {
  place: pathArgument("place", "either").pipe(Argument.withMetavar("PLACE"), Argument.withDescription("s3://bucket/prefix. Without it: the runs that this machine remembers"), Argument.optional),
  abort: Flag.Boolean("abort").pipe(Flag.withDescription("Remove every unfinished upload below PLACE, whoever has begun it, and what this machine remembers of it"), Flag.withDefault(false)),
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("uploads")(function*(input) {
  yield* attempt(() => {
    if (input.abort && Option.isNone(input.place)) throw new UsageError({ problem: "--abort: of which place?", hint: "uploads s3://bucket/prefix --abort" })
  })
  yield* emit("uploads", input, yield* uploads(Option.getOrUndefined(input.place), { abort: input.abort }), renderUploads)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo uploads", description: "Runs of this machine that have uploaded and not published" },
    { command: "convert_megatron_mimo uploads s3://checkpoints/run-7 --abort", description: "Remove what an interrupted run has left in a bucket" }
  ])
)
