/** Every error: one base, a stable code, what happened, what to do, an exit code. */
import { Effect, Exit, Runtime } from "effect"
import { describe, expect, it } from "vitest"
import {
  type BridgeError, ClusterError, ExitCode, Failure, InvalidFile, IoError, isBridgeError, LaunchError, NoSpace, OutputRefused, PeerFailed, PlanRefused,
  StreamBroken, StreamRefused, Unsupported, UsageError
} from "../src/errors.ts"

const hint = "Do this."
const all: ReadonlyArray<readonly [error: BridgeError, code: string, exitCode: number, summary: string]> = [
  [new InvalidFile({ path: "f", code: "json/syntax", problem: "is wrong", place: { field: "a", offset: 3 }, hint }), "json/syntax", ExitCode.input, "f (field a, byte 3): is wrong"],
  [new Unsupported({ what: "f", problem: "is new", hint }), "unsupported/other", ExitCode.unsupported, "f: is new"],
  [new Unsupported({ code: "unsupported/backend", what: "f", problem: "a\u001bb", place: { tensor: "t" }, hint }), "unsupported/backend", ExitCode.unsupported, "f (tensor t): a\\u001bb"],
  [new PlanRefused({ code: "plan/missing", problem: "2 are missing", names: ["a", "b"], hint }), "plan/missing", ExitCode.input, "2 are missing: a, b"],
  [new UsageError({ problem: "no", hint }), "usage/flags", ExitCode.usage, "no"],
  [new UsageError({ code: "usage/layout", problem: "no", hint }), "usage/layout", ExitCode.usage, "no"],
  [new OutputRefused({ path: "t", code: "output/exists", problem: "exists", hint }), "output/exists", ExitCode.output, "t: exists"],
  [new NoSpace({ path: "t", needed: 2, free: 1, hint }), "space/full", ExitCode.space, "t: 2 bytes are needed, 1 are free"],
  [new IoError({ path: "t", operation: "read", errno: "EACCES", hint }), "io/EACCES", ExitCode.io, "t: permission denied (read failed with EACCES)"],
  [new LaunchError({ code: "launch/value", problem: "no number", hint }), "launch/value", ExitCode.usage, "no number"],
  [new ClusterError({ code: "cluster/timeout", problem: "too late", hint }), "cluster/timeout", ExitCode.cluster, "too late"],
  [new StreamRefused({ code: "stream/shard", problem: "no part", hint }), "stream/shard", ExitCode.usage, "no part"],
  [new StreamBroken({ code: "stream/broken", problem: "cut", hint }), "stream/broken", ExitCode.cluster, "cut"],
  [new PeerFailed({ rank: 3, host: "n1", rootCode: "io/EIO", problem: "no!", rootExitCode: 7, file: "f", tensor: "t", hint }), "peer/failed", ExitCode.peer, "rank 3 on host n1 failed (file f, tensor t): no!"]
]

describe("an error", () => {
  it.each(all.map((row) => [row[0]._tag, ...row] as const))("%s", async (tag, error, code, exitCode, summary) => {
    expect(error).toBeInstanceOf(Failure)
    expect(error).toBeInstanceOf(Error)
    expect(isBridgeError(error)).toBe(true)
    expect([error.name, error.code, error.exitCode, error.hint, error.summary]).toEqual([tag, code, exitCode, hint, summary])
    expect(error.message).toBe(`${summary}\n  ${hint}`)
    expect(error[Runtime.errorExitCode]).toBe(exitCode)
    const exit = await Effect.runPromiseExit(Effect.gen(function*() { return yield* error }))
    expect(Exit.isFailure(exit)).toBe(true)
  })

  it("without a hint is what happened, and is caught by its tag", async () => {
    const error = new UsageError({ problem: "no" })
    expect(error.message).toBe("no")
    expect(await Effect.runPromise(Effect.fail(error).pipe(Effect.catchTag("UsageError", (e) => Effect.succeed(e.code))))).toBe("usage/flags")
  })
})
