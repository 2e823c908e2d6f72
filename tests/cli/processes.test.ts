/** `--processes N`: the command and children of its own do one conversion. */
import { spawn, spawnSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { usualProcesses } from "../../src/api/children.ts"
import { program } from "../program.ts"
import { workDirectory } from "../relabel/checkpoints.ts"
import { treeOf } from "../trees.ts"

const work = workDirectory("processes")
const at = (name: string): string => join(work, name)
const run = (...args: ReadonlyArray<string>) => {
  const { status, stderr, stdout } = spawnSync(process.execPath, [program, ...args], { encoding: "utf8", cwd: work })
  return { code: status, out: stdout, err: stderr }
}
const IMPORT = ["import", "--hf-model", "hf", "--component", "language=tp=2", "--component", "images=tp=1", "--megatron-path"]

beforeAll(() => {
  expect(run("sample", "hf").code).toBe(0)
  expect(run(...IMPORT, "alone").code).toBe(0)
})

describe("--processes 3", () => {
  it("imports and exports the bytes that one process does, and one process reports", () => {
    const imported = run(...IMPORT, "together", "--processes", "3", "--json")
    expect([imported.code, imported.err]).toEqual([0, ""])
    expect(JSON.parse(imported.out)).toMatchObject({ ok: true, command: "import", target: "together" })
    expect(treeOf(at("together"))).toEqual(treeOf(at("alone")))
    expect(run("export", "--hf-model", "hf", "--megatron-path", "alone", "--hf-path", "back", "--processes=3").code).toBe(0)
    expect(treeOf(at("back"))).toEqual(treeOf(at("hf")))
  })

  it("verifies as one process does", () => {
    expect(run("verify", "--hf-model", "hf", "--megatron-path", "alone", "--processes", "3")).toEqual(run("verify", "--hf-model", "hf", "--megatron-path", "alone"))
    const shard = readdirSync(at("back")).filter((name) => name.endsWith(".safetensors")).sort()[0]!
    const bytes = readFileSync(join(at("back"), shard))
    bytes[bytes.length - 2]! ^= 1
    writeFileSync(join(at("back"), shard), bytes)
    const alone = run("verify", "hf", "back", "--json", "--processes", "1")
    expect(alone.code).toBe(1)
    expect(run("verify", "hf", "back", "--json", "--processes", "3")).toEqual(alone)
  })

  it("reads a checkpoint again as one process does, and finds the flipped bit", () => {
    const resultOf = ({ code, out }: ReturnType<typeof run>) => ({ ...JSON.parse(out) as { notes: ReadonlyArray<string> }, code, notes: [] })
    expect(resultOf(run("verify", "--deep", "together", "--json", "--processes", "3"))).toEqual(resultOf(run("verify", "--deep", "together", "--json", "--processes", "1")))
    const file = join(at("together"), "iter_0000000", "__0_0.distcp")
    const bytes = readFileSync(file)
    bytes[5000]! ^= 4
    writeFileSync(file, bytes)
    const alone = resultOf(run("verify", "--deep", "together", "--json", "--processes", "1"))
    expect(alone).toMatchObject({ code: 1, damages: [{ file: "iter_0000000/__0_0.distcp", bit: { byte: 5000, bit: 2 } }] })
    expect(resultOf(run("verify", "--deep", "together", "--json", "--processes", "3"))).toEqual(alone)
  })

  it("refuses what one process refuses, with its message and exit code, and leaves nothing", () => {
    const alone = run(...IMPORT, "alone")
    const together = run(...IMPORT, "alone", "--processes", "3")
    expect([together.code, together.err]).toEqual([alone.code, alone.err])
    expect(readdirSync(work).filter((name) => name.startsWith("."))).toEqual([])
  })

  it("is told to stop, and all stop", async () => {
    const child = spawn(process.execPath, [program, ...IMPORT, "stopped", "--processes", "3"], { cwd: work, stdio: "ignore" })
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve))
    // From here on there is something to leave behind.
    while (child.exitCode === null && !existsSync(at(".stopped.partial"))) await new Promise((resolve) => setTimeout(resolve, 2))
    child.kill("SIGTERM")
    // It may have been done already.
    expect(await ended).toBeOneOf([0, 143])
    expect(existsSync(at("stopped"))).toBe(await ended === 0)
  })

  it("a number that is none is refused", () => {
    expect(run(...IMPORT, "never", "--processes", "0")).toMatchObject({ code: 2, err: expect.stringContaining("--processes 0") })
  })
})

it("by default one process does what is small, on few cores or in little memory", () => {
  const GB = 1 << 30
  expect([[1.9, 16, 128], [10, 2, 24], [10, 16, 128], [100, 16, 128], [100, 64, 512], [100, 64, 4]].map(([size, cores, memory]) => usualProcesses(size! * GB, cores, memory! * GB)))
    .toEqual([1, 1, 10, 14, 16, 5])
})
