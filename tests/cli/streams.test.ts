/** Standard output and error that fail: the right exit code, no stack trace, and the work itself is done. */
import { spawn, spawnSync } from "node:child_process"
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { program } from "../program.ts"

const work = mkdtempSync(join(tmpdir(), "streams-"))
const hf = join(work, "hf")
/** Every write to it says ENOSPC. */
const full = existsSync("/dev/full") ? openSync("/dev/full", "w") : undefined
const FULL = "error: standard output: the file system (or the quota) is full\n"

beforeAll(() => {
  expect(spawnSync(process.execPath, [program, "sample", hf]).status).toBe(0)
})
afterAll(() => {
  if (full !== undefined) closeSync(full)
  rmSync(work, { recursive: true })
})

type End = "pipe" | number

const run = (args: ReadonlyArray<string>, out: End, err: End = "pipe") => {
  const { output, status } = spawnSync(process.execPath, [program, ...args], { stdio: ["ignore", out, err], encoding: "utf8" })
  return { code: status, out: output[1] ?? "", err: output[2] ?? "" }
}

/** Whoever reads these streams is gone before a word was said. */
const unread = (args: ReadonlyArray<string>, ...streams: ReadonlyArray<"stdout" | "stderr">) =>
  new Promise<{ readonly code: number | null; readonly err: string }>((resolve) => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] })
    let err = ""
    child.stderr.on("data", (part: Buffer) => { err += part.toString() })
    for (const name of streams) child[name].destroy()
    child.on("close", (code) => resolve({ code, err }))
  })

describe.skipIf(full === undefined)("a full disk", () => {
  it.each([
    ["--help"], ["--completions", "bash"], ["models", "--json"], ["inspect", hf, "--list"]
  ])("behind stdout of %s: exit code 6, and why", (...args) => {
    expect(run(args, full!)).toEqual({ code: 6, out: "", err: FULL })
  })

  it("behind stdout does not hide what a command failed with", () => {
    expect(run(["inspect", join(work, "nothing"), "--json"], full!)).toEqual({ code: 3, out: "", err: "" })
  })

  it("behind stderr, or both, leaves the exit code as it was", () => {
    expect(run(["inspect", join(work, "nothing")], "pipe", full)).toEqual({ code: 3, out: "", err: "" })
    expect(run(["models"], full!, full)).toEqual({ code: 6, out: "", err: "" })
  })

  it("behind stdout stops no work", () => {
    const target = join(work, "full")
    expect(run(["import", "--hf-model", hf, "--megatron-path", target], full!)).toMatchObject({ code: 6, err: FULL })
    expect(readFileSync(join(target, "latest_checkpointed_iteration.txt"), "utf8")).toBe("0")
  })
})

describe("a pipe that nobody reads", () => {
  it("is no failure: who reads no more has read enough", async () => {
    expect(await unread(["inspect", hf, "--list"], "stdout")).toEqual({ code: 0, err: "" })
  })

  it("leaves the exit code of a failure, and stops no work", async () => {
    expect(await unread(["inspect", join(work, "nothing")], "stdout", "stderr")).toEqual({ code: 3, err: "" })
    const target = join(work, "unread")
    expect((await unread(["import", "--hf-model", hf, "--megatron-path", target], "stdout", "stderr")).code).toBe(0)
    expect(existsSync(join(target, "latest_checkpointed_iteration.txt"))).toBe(true)
  })
})
