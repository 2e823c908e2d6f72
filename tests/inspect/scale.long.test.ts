/** A checkpoint of a terabyte and one of a hundred thousand tensors are looked into with little work and little memory. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { measured } from "../measure/measured.ts"
import { program } from "../program.ts"
import { workDirectory } from "../relabel/checkpoints.ts"
import { writeLarge } from "./large.ts"

const work = workDirectory("scale")
/** The other half of a core may be busy, the clock of the processor low. */
const PATIENCE = 6

describe("inspect", () => {
  afterAll(() => rmSync(work, { recursive: true, force: true }))

  const inspect = (heapMb: number, ...args: ReadonlyArray<string>) => {
    const result = measured(program, heapMb, ["inspect", ...args])
    expect(result.status, result.stderr.slice(0, 2000)).toBe(0)
    return result
  }

  it("1 TB in 64 files: 2 s of a processor, a heap of 48 MB, 300 MB in all", () => {
    const path = join(work, "terabyte")
    expect(writeLarge(path, { layers: 96, perLayer: 40, shape: [16384, 8192], ranks: 64 })).toBeGreaterThan(1e12)
    const { bytes, cpuMs, stdout } = inspect(48, path)
    expect(stdout).toContain("3840 tensors, 515 396 075 520 elements, 1.03 TB")
    expect(cpuMs).toBeLessThan(2000 * PATIENCE)
    expect(bytes).toBeLessThan(300e6)
  })

  describe("100 000 tensors: 5 s of a processor, a heap of 160 MB, 512 MB in all", () => {
    const path = join(work, "many")
    beforeAll(() => { writeLarge(path, { layers: 1000, perLayer: 100, shape: [64, 64], ranks: 8 }) })

    it.each([
      [[], (out: string) => expect(out).toContain("100000 tensors")],
      [["--list"], (out: string) => expect(out.split("\n").length).toBeGreaterThan(100_000)],
      [["--chunks"], (out: string) => expect(out.split("\n").length).toBeGreaterThan(200_000)],
      [["--csv"], (out: string) => expect(out.split("\n")).toHaveLength(100_002)],
      [["--json"], (out: string) => expect((JSON.parse(out) as { tensors: ReadonlyArray<unknown> }).tensors).toHaveLength(100_000)]
    ] as const)("%s", (flags, check) => {
      const { bytes, cpuMs, stdout } = inspect(160, path, ...flags)
      check(stdout)
      expect(cpuMs).toBeLessThan(5000 * PATIENCE)
      expect(bytes).toBeLessThan(512e6)
    })
  })
})
