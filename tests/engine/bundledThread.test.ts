/** The program as it is published finds the file that its threads run: without it they are silently done without. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { program } from "../program.ts"

const work = mkdtempSync(join(tmpdir(), "threads-"))
afterAll(() => rmSync(work, { recursive: true }))

it("threads run", () => {
  const run = (env: Record<string, string>, ...args: ReadonlyArray<string>) =>
    execFileSync(process.execPath, [program, ...args, "--quiet"], { env: { ...process.env, ...env } })
  // Less than this is not worth a thread.
  run({}, "sample", join(work, "hf"), "--size", "small")
  // On a busy machine the work may be done before the thread has started; a thread without a file never starts.
  const started = Array.from({ length: 6 }, (_, i) => i).some((i) => {
    const profiles = join(work, `profiles-${i}`)
    run({ NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profiles}` }, "import", "--hf-model", join(work, "hf"), "--megatron-path", join(work, `megatron-${i}`), "--threads", "1")
    return readdirSync(profiles).some((name) => /"url":"[^"]*(thread\.js|worker\.ts)"/.test(readFileSync(join(profiles, name), "utf8")))
  })
  expect(started).toBe(true)
})
