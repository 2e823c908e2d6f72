/** Two real processes on one target: the second is told who is there, and gets in when that one is gone. */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, it } from "vitest"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { Disk } from "../../src/io/Disk.ts"
import { loadCase } from "../conformance/cases.ts"
import { runCli } from "./killWalk.ts"

const CHILD = new URL("./child.ts", import.meta.url).pathname
/** In the middle of the work: the lock is taken long before, the last call is some 270. */
const MIDDLE = 120

const isStopped = async (pid: number): Promise<boolean> =>
  (await readFile(`/proc/${pid}/stat`, "latin1")).split(") ").at(-1)!.startsWith("T")

it("the second is refused with who holds the target; a crash of the first lets it in", async () => {
  const root = await mkdtemp(join(tmpdir(), "two-"))
  try {
    await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), join(root, "hf")).pipe(Effect.provide(Disk.layer)))
    const args = ["import", "--hf-model", join(root, "hf"), "--megatron-path", join(root, "out"), "--standard", "--concurrency", "16", "--max-memory", "8MB"]
    const first = spawn(process.execPath, [CHILD, String(MIDDLE), "SIGSTOP", ...args], { stdio: "ignore" })
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
