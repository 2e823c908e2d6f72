/** Two real processes on one target: the second is told who is there, and gets in when that one is gone. */
import { Effect } from "effect"
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { existsSync, readdirSync } from "node:fs"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "vitest"
import { program } from "../program.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { Disk } from "../../src/io/Disk.ts"
import { loadCase } from "../conformance/cases.ts"
import { bundled } from "../bundled.ts"
import { CHILD, runCli } from "./killWalk.ts"

/** In the middle of the work. */
const MIDDLE = "payload+8"

const isStopped = async (pid: number): Promise<boolean> =>
  (await readFile(`/proc/${pid}/stat`, "latin1")).split(") ").at(-1)!.startsWith("T")

/** How a process gets into a PID namespace of its own here, if it can: as root, or as the root of a user namespace. */
const inNamespace = [["--pid", "--fork", "--mount-proc"], ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]]
  .find((flags) => spawnSync("unshare", [...flags, "true"]).status === 0)

it.skipIf(inNamespace === undefined)("a second in another PID namespace waits for a sign of life, and does not take the lock", async () => {
  const root = await mkdtemp(join(tmpdir(), "two-"))
  try {
    await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), join(root, "hf")).pipe(Effect.provide(Disk.layer)))
    const args = ["import", "--hf-model", join(root, "hf"), "--megatron-path", join(root, "out"), "--standard", "--json"]
    const first = spawn(process.execPath, [await bundled(CHILD), "0", `until:${join(root, "go")}`, ...args], { stdio: "ignore" })
    const ended = once(first, "exit")
    const staging = join(root, ".out.partial")
    while (!(existsSync(staging) && readdirSync(staging).includes("lock.1"))) await new Promise((resolve) => setTimeout(resolve, 20))
    const second = spawnSync("unshare", [...inNamespace!, process.execPath, program, ...args], { encoding: "utf8" })
    expect([second.status, JSON.parse(second.stdout).error.code]).toEqual([5, "output/locked"])
    await writeFile(join(root, "go"), "")
    expect(await ended).toEqual([0, null])
    expect(readdirSync(join(root, "out", "iter_0000000"))).toContain("__0_0.distcp")
    expect((await runCli(["verify", "--hf-model", join(root, "hf"), "--megatron-path", join(root, "out"), "--quiet"])).code).toBe(0)
  } finally {
    await rm(root, { recursive: true })
  }
}, 120_000)

it("the second is refused with who holds the target; a crash of the first lets it in", async () => {
  const root = await mkdtemp(join(tmpdir(), "two-"))
  try {
    await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), join(root, "hf")).pipe(Effect.provide(Disk.layer)))
    const args = ["import", "--hf-model", join(root, "hf"), "--megatron-path", join(root, "out"), "--standard", "--concurrency", "16", "--max-memory", "8MB"]
    const first = spawn(process.execPath, [await bundled(CHILD), MIDDLE, "SIGSTOP", ...args], { stdio: "ignore" })
    while (!await isStopped(first.pid!)) await new Promise((resolve) => setTimeout(resolve, 20))
    const second = await runCli([...args, "--json"])
    expect(second.code).toBe(5)
    expect(JSON.parse(second.stdout)).toMatchObject({ ok: false, error: { kind: "OutputRefused", code: "output/locked", exitCode: 5 } })
    expect(JSON.parse(second.stdout).error.message).toContain(`process ${first.pid} on`)
    first.kill("SIGKILL")
    await once(first, "exit")
    const third = await runCli([...args, "--resume"])
    expect([third.code, third.stderr]).toEqual([0, expect.any(String)])
    expect(third.stdout).toContain(`an interrupted run (process ${first.pid}, started`)
  } finally {
    await rm(root, { recursive: true })
  }
}, 120_000)
