/** A sample of the faults below the runtime (`npm run torture -- --only below` makes all of them), and the command itself among them. */
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { constants, tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { program } from "../../program.ts"
import { belowWalk, buildFaults, faultsIn } from "./belowWalk.ts"

const work = realpathSync(mkdtempSync(join(tmpdir(), "below-")))
const library = buildFaults(work)
afterAll(() => rmSync(work, { recursive: true }))

const LONG = 120_000

describe.skipIf(library === undefined)("below the runtime", () => {
  it("a call that fails is a typed error, or is got over", async () => {
    const results = await belowWalk({ every: 211 })
    expect([...results.values()].flatMap((r) => r.problems)).toEqual([])
    expect([...results.values()].reduce((sum, r) => sum + r.points, 0)).toBeGreaterThan(8)
  }, LONG)

  it("a quota that is used up ends the command with 6, in one message, and nothing is published", () => {
    const root = join(work, "root")
    mkdirSync(root)
    // Orders to the library, before the command begins.
    const start = join(work, "start.mjs")
    writeFileSync(start, `
      import { openSync } from "node:fs"
      try { openSync("/.faults/arm/write/0/${constants.errno.EDQUOT}/1", "r") } catch {}
      process.argv.splice(1, 1)
      await import(${JSON.stringify(program)})
    `)
    const { status, stderr, stdout } = spawnSync(process.execPath, [start, program, "sample", join(root, "hf")], {
      encoding: "utf8",
      env: faultsIn(library!, root, join(work, "report"))
    })
    expect({ status, stdout, stderr }).toEqual({
      status: 6,
      stdout: "",
      stderr: expect.stringMatching(/^error: \S+: the file system \(or the quota\) is full\n(?! +at )/)
    })
    expect(readdirSync(root)).toEqual([])
  }, LONG)
})
