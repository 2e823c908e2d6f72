import { Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { attempt } from "../../api/ground.ts"
import { type PauseMode, pauseModes, pushVersion, type PushReport, type ReplicaReport } from "../../api/rollout.ts"
import { ExitCode } from "../../errors.ts"
import { engineSecret, secretOf } from "../flags/access.ts"
import * as flags from "../flags/index.ts"
import { refuseIdle } from "../idle.ts"
import { emit } from "../output.ts"
import { pathArgument, pathFlag } from "../paths.ts"
import { bad, bold, good } from "../text.ts"

const renderReplica = ({ engine, holds, kind, paused, problem, version }: ReplicaReport): string => {
  const mark = problem === undefined ? good("✓") : bad("✗")
  const weights = { old: "the weights that it had", new: "the new weights", unknown: "unknown weights" }[holds]
  return `${mark} ${engine} (${kind}): ${weights}${version === undefined ? "" : `, says ${version}`}${paused ? ", paused" : ""}${problem === undefined ? "" : `\n    ${problem}`}`
}

const renderPush = ({ complete, failed, pausedMs, recovery, replicas, version }: PushReport): string => {
  const lines = [complete ? `${bold(`version ${version}`)} is on all replicas${pausedMs === undefined ? "" : `; they were paused for ${(pausedMs / 1000).toFixed(1)} s`}` : bad(`version ${version} is not on all replicas: ${failed} failed`)]
  lines.push(replicas.map(renderReplica).join("\n"))
  for (const text of recovery) lines.push(`→ ${text}`)
  return lines.join("\n\n")
}

const seconds = (name: string, what: string) => Flag.Int(name).pipe(Flag.withMetavar("SECONDS"), Flag.withDescription(what), Flag.optional)

export const pushCommand = Command.make("push", {
  root: pathArgument("root", "directory").pipe(Argument.withDescription("Folder of versions")),
  engine: Flag.String("engine").pipe(Flag.withMetavar("URL"), Flag.withDescription("A replica, repeated for each; never a router in front of several"), Flag.between(1, 1024)),
  version: Flag.Int("to").pipe(Flag.withMetavar("N"), Flag.withDescription("Version; an earlier one is a way back. Default: the newest"), Flag.optional),
  engineRoot: Flag.String("engine-root").pipe(Flag.withMetavar("PATH"), Flag.withDescription("The folder of versions as the engines see it. Default: its own path"), Flag.optional),
  engineLocal: Flag.String("engine-local").pipe(Flag.withMetavar("PATH"), Flag.withDescription("Directory on the engines' hosts that SGLang brings to the version itself (/pull_weights)"), Flag.optional),
  copy: pathFlag("copy", "directory").pipe(Flag.withMetavar("DIR"), Flag.withDescription("Pull the version into DIR first, on a disk that the engines see under the same path"), Flag.optional),
  model: pathFlag("model", "directory").pipe(Flag.withMetavar("DIR"), Flag.withDescription("With --copy: the model that engines were started with, where the first version is a delta"), Flag.optional),
  pause: Flag.Literals("pause-mode", pauseModes as unknown as [PauseMode, ...Array<PauseMode>]).pipe(Flag.withDescription("What becomes of running requests. Default: retract (SGLang), wait (vLLM)"), Flag.optional),
  phases: Flag.Boolean("phases").pipe(Flag.withDescription("vLLM: the four phases of its weight transfer with the disk backend, instead of a reload"), Flag.withDefault(false)),
  timeout: seconds("timeout", "For a pull or a load. Default 600"),
  quickTimeout: seconds("quick-timeout", "For any other call. Default 30"),
  ...engineSecret,
  json: flags.json,
  quiet: flags.quiet
}, Effect.fn("push")(function*(input) {
  yield* attempt(() => refuseIdle(
    ["--model", Option.isSome(input.model) && Option.isNone(input.copy), "there is no --copy"],
    ["--engine-local", Option.isSome(input.engineLocal) && Option.isSome(input.copy), "--copy pulls on this side"],
    ["--auth-env", Option.isSome(input.authEnv) && Option.isSome(input.authFile), "--auth-file says it"]
  ))
  const given = <A, K extends string>(flag: Option.Option<A>, key: K) => (Option.isSome(flag) ? { [key]: flag.value } as { readonly [P in K]: A } : {})
  const report = yield* pushVersion(input.root, {
    engines: input.engine,
    phases: input.phases,
    ...secretOf(input),
    ...given(input.version, "version"), ...given(input.engineRoot, "engineRoot"), ...given(input.engineLocal, "engineLocal"), ...given(input.copy, "copy"),
    ...given(input.model, "model"), ...given(input.pause, "pause"),
    ...given(Option.map(input.timeout, (s) => s * 1000), "slow"), ...given(Option.map(input.quickTimeout, (s) => s * 1000), "quick")
  })
  yield* emit("push", input, report, renderPush, report.complete ? ExitCode.ok : ExitCode.different)
})).pipe(
  Command.withExamples([
    { command: "convert_megatron_mimo push ./versions --engine http://gpu1:30000 --engine http://gpu2:30000 --engine-local /local/model", description: "SGLang pulls deltas to its own disk before it pauses" },
    { command: "convert_megatron_mimo push /shared/versions --engine http://gpu1:8000 --copy /shared/current", description: "vLLM loads a copy that is brought to the version here" },
    { command: "convert_megatron_mimo push ./versions --engine http://gpu1:30000 --engine-local /local/model --to 6", description: "Back to an earlier version" }
  ])
)
