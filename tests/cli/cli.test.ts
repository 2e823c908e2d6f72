/** The command line: what it prints, where, and with which exit code. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { VERSION } from "../../src/version.ts"
import { cliIn } from "./run.ts"

const work = mkdtempSync(join(tmpdir(), "cli-"))
const at = (...names: ReadonlyArray<string>) => join(work, ...names)
afterAll(() => rmSync(work, { recursive: true }))

const run = cliIn(work)

beforeAll(async () => {
  expect((await run("sample", at("hf"))).code).toBe(0)
})

it("the version is the package's", async () => {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }
  expect(VERSION).toBe(version)
  expect((await run("--version")).out.trim()).toContain(version)
})

describe("the main job", () => {
  it("imports, verifies and exports, and says what it did", async () => {
    const imported = await run("import", "--hf-model", at("hf"), "--megatron-path", at("mg"), "-c", "language=tp=2", "-c", "images=tp=1")
    expect(imported.code).toBe(0)
    expect(imported.out).toContain("imported Qwen3_5ForConditionalGeneration")
    expect(imported.out).toMatch(/language +2 +1 +1 +1 +1 +1 +0-1/)
    const verified = await run("verify", "--hf-model", at("hf"), "--megatron-path", at("mg"))
    expect(verified).toMatchObject({ code: 0, out: "104/104 equal\n" })
    expect((await run("export", "--hf-model", at("hf"), "--megatron-path", at("mg", "iter_0000000"), "--hf-path", at("out"))).code).toBe(0)
    for (const file of readdirSync(at("hf"))) expect(readFileSync(at("out", file)).equals(readFileSync(at("hf", file))), file).toBe(true)
  })

  it("verify of two that differ ends with 1 and names the tensor", async () => {
    const shard = readdirSync(at("out")).filter((f) => f.endsWith(".safetensors")).sort()[0]!
    const bytes = readFileSync(at("out", shard))
    bytes[bytes.length - 2]! ^= 1
    writeFileSync(at("out", shard), bytes)
    const { code, out } = await run("verify", at("hf"), at("out"))
    expect(code).toBe(1)
    expect(out).toMatch(/^different +model\.\S+ +1 of \d+ values differ, by at most [\d.e-]+\n103\/104 equal\n$/)
  })

  it("plan and --dry-run print the same and write nothing", async () => {
    const plan = await run("plan", "--hf-model", at("hf"), "--json")
    const dry = await run("import", "--hf-model", at("hf"), "--megatron-path", at("never"), "--dry-run", "--json")
    expect(plan.code).toBe(0)
    const { command, target, ...rest } = JSON.parse(dry.out) as { command: string; target: string }
    expect([command, target]).toEqual(["import", at("never")])
    expect({ ...rest, command: "plan" }).toEqual(JSON.parse(plan.out))
    expect(existsSync(at("never"))).toBe(false)
  })

  it.each(["debug", "DEBUG", "Debug"])("--log-level %s tells the steps on stderr, whatever goes to stdout", async (level) => {
    const { code, err, out } = await run("import", "--hf-model", at("hf"), "--megatron-path", at(`told-${level}`), "--json", "--log-level", level)
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ ok: true })
    const lines = err.trimEnd().split("\n")
    expect(lines.filter((line) => !line.startsWith("debug: "))).toEqual([])
    for (const step of ["resolve: ", "layout: ", "plan: ", "engine: ", "publish: "]) expect(err).toContain(`debug: ${step}`)
    expect(err).toMatch(/family \S+, \d+ mapping rows, mimo/)
  })

  it("--log-level INFO adds nothing", async () => {
    expect(await run("plan", "--hf-model", at("hf"), "--quiet", "--log-level=INFO")).toEqual({ code: 0, out: "", err: "" })
  })

  it("--quiet says nothing", async () => {
    expect(await run("plan", "--hf-model", at("hf"), "--quiet")).toEqual({ code: 0, out: "", err: "" })
  })
})

describe("errors", () => {
  it("one message on stderr, no stack, the documented exit code", async () => {
    expect(await run("import", "--hf-model", at("hf"), "--megatron-path", at("mg"))).toMatchObject({
      code: 5,
      out: "",
      err: expect.stringMatching(/^error: .*mg: .*\n {2}--overwrite .*\n$/)
    })
  })

  it("as JSON with --json", async () => {
    const { code, err, out } = await run("import", "--hf-model", at("nowhere"), "--megatron-path", at("x"), "--json")
    expect(err).toBe("")
    expect(JSON.parse(out)).toMatchObject({ ok: false, error: { path: expect.stringContaining("nowhere"), exitCode: code } })
  })

  it("of usage as JSON, too", async () => {
    for (const args of [["import", "--hf-mode", "x"], ["nonsense"], ["plan", "--hf-model", at("hf"), "--tp", "1e99"], ["import", "--hf-model", at("hf"), "--megatron-path", at("x"), "--max-memory", "1e99"]]) {
      const { code, err, out } = await run(...args, "--json")
      expect([code, err]).toEqual([2, ""])
      expect(JSON.parse(out)).toMatchObject({ ok: false, error: { kind: "UsageError", exitCode: 2 } })
    }
  })

  it.each([
    ["an unknown flag", ["import", "--hf-mode", "x"], "Did you mean"],
    ["a missing flag", ["import", "--hf-model", "x"], "megatron-path"],
    ["a layout that overlaps", ["plan", "--hf-model", "@hf", "-c", "language=tp=2,dp=1,rank_offset=0", "-c", "images=tp=1,dp=1,rank_offset=1"], "rank"],
    ["a layout with a gap", ["plan", "--hf-model", "@hf", "-c", "language=tp=2,dp=1,rank_offset=0", "-c", "images=tp=1,dp=1,rank_offset=3"], "rank"],
    ["an unknown component", ["plan", "--hf-model", "@hf", "-c", "language=tp=1", "-c", "video=tp=1"], "video"],
    ["a size that is none", ["plan", "--hf-model", "@hf", "-c", "language=tp=two"], "tp"],
    ["component and standard", ["plan", "--hf-model", "@hf", "-c", "language=tp=1", "--standard"], "exclude each other"]
  ])("%s is a usage error", async (_, args, fragment) => {
    const { code, err } = await run(...args.map((a) => a.replace("@hf", at("hf"))))
    expect(code).toBe(2)
    expect(err).toContain(fragment)
    expect(err).not.toMatch(/\n\s+at /)
  })
})
