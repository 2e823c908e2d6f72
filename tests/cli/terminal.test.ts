/** What a person at a terminal sees on standard error while a command works: frames that fit, a closing line, the next command. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout } from "node:timers/promises"
import { stripVTControlCharacters } from "node:util"
import { Layer } from "effect"
import stringWidth from "string-width"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { cliIn, type Finished, runCli } from "./run.ts"

const work = mkdtempSync(join(tmpdir(), "terminal-"))
const run = cliIn(work)
afterAll(() => rmSync(work, { recursive: true, force: true }))
beforeAll(async () => {
  expect((await run("sample", "hf", "-q")).code).toBe(0)
})

/** Long enough for a few frames. */
const slowDisk: Layer.Layer<Disk> = Layer.succeed(Disk, {
  ...nodeCalls,
  open: async (...args) => {
    const file = await nodeCalls.open(...args)
    return { ...file, write: async (from, position) => {
      await setTimeout(from.byteLength > 65536 ? 80 : 0)
      return file.write(from, position)
    } }
  }
})

/** Standard error is a terminal of so many columns. */
const atTerminal = async (columns: number, ...args: ReadonlyArray<string>): Promise<Finished> => {
  const before = { isTTY: process.stderr.isTTY, columns: process.stderr.columns }
  Object.assign(process.stderr, { isTTY: true, columns })
  try {
    return await runCli(args, { cwd: work, disk: slowDisk })
  } finally {
    Object.assign(process.stderr, before)
  }
}

describe("on a terminal", () => {
  it.each([80, 60, 40])("of %i columns every frame fits, and is drawn over the one before", async (columns) => {
    const { code, err } = await atTerminal(columns, "import", "--hf-model", "hf", "--megatron-path", `mg-${columns}`, "--threads", "0", "--concurrency", "1")
    expect(code).toBe(0)
    const [drawn, next, ...rest] = err.split("\n")
    const frames = drawn!.split("\r").map((frame) => stripVTControlCharacters(frame)).filter((frame) => frame !== "")
    expect(frames.length).toBeGreaterThan(1)
    for (const frame of frames) expect(stringWidth(frame)).toBeLessThan(columns)
    expect(frames.at(-1)).toMatch(/^importing: 1\.\d+ MB in [\d.]+s \([\d.]+ [kKMG]?B\/s\)$/)
    expect(rest).toEqual([""])
    expect(next).toBe(`next: convert_megatron_mimo verify --hf-model hf --megatron-path mg-${columns}`)
  })

  it("every phase of a round trip has its closing line", async () => {
    const { code, err } = await atTerminal(80, "roundtrip", "--hf-model", "hf")
    expect(code).toBe(0)
    const lines = err.split("\n").map((line) => stripVTControlCharacters(line.split("\r").at(-1)!))
    expect(lines.map((line) => line.split(":")[0])).toEqual(["importing", "exporting", "comparing", ""])
  })

  it("the next command is one that can be pasted", async () => {
    const { err } = await atTerminal(80, "export", "--hf-model", "hf", "--megatron-path", "mg-80", "--hf-path", "an export's")
    expect(err).toContain("next: convert_megatron_mimo verify --hf-model 'an export'\\''s' --megatron-path mg-80\n")
  })

  it("under --json as well: the document is alone on standard output", async () => {
    const { err, out } = await atTerminal(80, "import", "--hf-model", "hf", "--megatron-path", "json", "--json")
    expect(JSON.parse(out)).toMatchObject({ ok: true })
    expect(err).toMatch(/importing: 1\.\d+ MB in \d/)
  })

  it.each(["--no-progress", "-q"])("%s: nothing of it", async (flag) => {
    const { err } = await atTerminal(80, "import", "--hf-model", "hf", "--megatron-path", `none${flag}`, flag)
    expect(err).toBe("")
  })
})

it("in a log of a short run there is no progress and no next command", async () => {
  expect((await run("import", "--hf-model", "hf", "--megatron-path", "log")).err).toBe("")
})
