/** A checkpoint of a terabyte and one of a hundred thousand tensors are looked into in seconds and little memory. */
import { spawnSync } from "node:child_process"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { workDirectory } from "../relabel/checkpoints.ts"
import { writeLarge } from "./large.ts"

const work = workDirectory("scale")
const program = new URL("./measured.ts", import.meta.url).pathname
/** On a machine that is busy with other tests, time says little: what is promised times this. */
const PATIENCE = 6

const measured = (...args: ReadonlyArray<string>) => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8", maxBuffer: 1 << 28 })
  expect(status, stderr).toBe(0)
  const { maxRss, ms } = JSON.parse(stderr.trim().split("\n").at(-1)!) as { maxRss: number; ms: number }
  return { stdout, megabytes: maxRss / 1024, ms }
}

describe("inspect", () => {
  afterAll(() => rmSync(work, { recursive: true, force: true }))

  it("1 TB in 64 files: 2 s, 300 MB", () => {
    const path = join(work, "terabyte")
    expect(writeLarge(path, { layers: 96, perLayer: 40, shape: [16384, 8192], ranks: 64 })).toBeGreaterThan(1e12)
    const { megabytes, ms, stdout } = measured("inspect", path)
    expect(stdout).toContain("3840 tensors, 515 396 075 520 elements, 1.03 TB")
    expect(ms).toBeLessThan(2000 * PATIENCE)
    expect(megabytes).toBeLessThan(300)
  })

  describe("100 000 tensors: 5 s, 512 MB", () => {
    const path = join(work, "many")
    beforeAll(() => { writeLarge(path, { layers: 1000, perLayer: 100, shape: [64, 64], ranks: 8 }) })

    it.each([
      [[], (out: string) => expect(out).toContain("100000 tensors")],
      [["--list"], (out: string) => expect(out.split("\n").length).toBeGreaterThan(100_000)],
      [["--chunks"], (out: string) => expect(out.split("\n").length).toBeGreaterThan(200_000)],
      [["--csv"], (out: string) => expect(out.split("\n")).toHaveLength(100_002)],
      [["--json"], (out: string) => expect((JSON.parse(out) as { tensors: ReadonlyArray<unknown> }).tensors).toHaveLength(100_000)]
    ] as const)("%s", (flags, check) => {
      const { megabytes, ms, stdout } = measured("inspect", path, ...flags)
      check(stdout)
      expect(ms).toBeLessThan(5000 * PATIENCE)
      expect(megabytes).toBeLessThan(512)
    })
  })
})
