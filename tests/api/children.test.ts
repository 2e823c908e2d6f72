/** Processes of one machine that this one starts. */
import { Effect } from "effect"
import { readdirSync } from "node:fs"
import { afterEach, beforeEach, expect, it, vi } from "vitest"
import { withChildren } from "../../src/api/children.ts"
import { Disk } from "../../src/io/Disk.ts"
import { workFolder } from "../hostile/run.ts"

// Jobs of other tests leave and take folders beside.
const own = workFolder("children")
beforeEach(() => { vi.stubEnv("TMPDIR", own) })
afterEach(() => { vi.unstubAllEnvs() })

const together = (program: string) =>
  Effect.runPromise(withChildren({ size: 3, command: [process.execPath, "-e", program, "--"] }, "test", Effect.never).pipe(Effect.provide(Disk.layer)))

it.each([
  ["process.stderr.write('the last words'); process.exit(7)", /process [12] of 3 ended with exit code 7: "?the last words/],
  ["process.kill(process.pid, 'SIGKILL'); setInterval(() => {}, 1000)", /process [12] of 3 ended with SIGKILL/]
])("a child that ends before its time ends the job, by how it ended: %s", async (program, message) => {
  await expect(together(program)).rejects.toMatchObject({ code: "cluster/lost", message: expect.stringMatching(message) })
  expect(readdirSync(own).filter((name) => name.startsWith("megatron-mimo-job-"))).toEqual([])
})
