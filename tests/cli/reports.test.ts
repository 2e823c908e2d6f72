/** `--report FILE` and `--card FILE`: what is written, with which numbers, and what is refused before any work. */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { parse } from "yaml"
import { cliIn } from "./run.ts"

const work = mkdtempSync(join(tmpdir(), "reports-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

const run = cliIn(work)
const text = (name: string) => readFileSync(join(work, name), "utf8")
const numbers = (html: string) => new Map([...html.matchAll(/<data data-key="([^"]+)" value="([^"]+)"/g)].map((m) => [m[1]!, Number(m[2])]))
const sha256 = (...names: ReadonlyArray<string>) => createHash("sha256").update(readFileSync(join(work, ...names))).digest("hex")

beforeAll(async () => {
  expect((await run("sample", "hf", "-q")).code).toBe(0)
  expect(await run("import", "--hf-model", "hf", "--megatron-path", "mg", "-c", "language=tp=2", "-c", "images=tp=1", "--report", "import.html", "--card", "import.yaml", "-q")).toEqual({ code: 0, out: "", err: "" })
})

describe("import", () => {
  it("writes the page: what was converted, and where every tensor went", () => {
    const shown = numbers(text("import.html"))
    expect(Object.fromEntries(["conversion.sourceTensors", "conversion.targetTensors", "coverage.converted.tensors"].map((k) => [k, shown.get(k)])))
      .toEqual({ "conversion.sourceTensors": 104, "conversion.targetTensors": 98, "coverage.converted.tensors": 104 })
    expect(text("import.html")).toContain("Every one of 104 source tensors is accounted for")
  })

  it("writes the card: model, versions, hashes, counts, timings", () => {
    const card = parse(text("import.yaml")) as Record<string, never> & { hashes: ReadonlyArray<{ path: string; bytes: number; sha256: string }> }
    expect(card).toMatchObject({
      verification_card: 1,
      command: "import",
      versions: { node: process.versions.node },
      model: { architecture: "Qwen3_5ForConditionalGeneration", family: "qwen3.5-vl", form: "mimo" },
      conversion: { direction: "import", source: { tensors: 104 }, target: { tensors: 98 }, values_rounded: 0, left_behind: [] },
      coverage: { source_tensors: 104, converted: 104, unmapped: 0, unclaimed: 0 },
      checkpoints: [{ path: "hf", kind: "safetensors" }, { path: "mg", kind: "megatron", form: "mimo", tensors: 98 }]
    })
    expect((card as unknown as { timings: { seconds: number } }).timings.seconds).toBeGreaterThan(0)
    for (const { bytes, path, sha256: hash } of card.hashes) {
      expect(hash).toBe(sha256(path))
      expect(bytes).toBe(readFileSync(join(work, path)).byteLength)
    }
    expect(card.hashes.map((h) => h.path)).toEqual(expect.arrayContaining(["mg/iter_0000000/.metadata", "mg/iter_0000000/.checksums.json", "hf/config.json"]))
  })
})

describe("export", () => {
  it("writes both, a .yaml under --report being the card", async () => {
    expect((await run("export", "--hf-model", "hf", "--megatron-path", "mg", "--hf-path", "out", "--report", "export.html", "-q")).code).toBe(0)
    expect(text("export.html")).toContain("Every one of 104 source tensors is accounted for")
    expect((await run("export", "--hf-model", "hf", "--megatron-path", "mg", "--hf-path", "out", "--overwrite", "--report", "export.yaml", "-q")).code).toBe(0)
    expect(parse(text("export.yaml"))).toMatchObject({ command: "export", conversion: { direction: "export", target: { tensors: 104 } } })
  })
})

describe("verify", () => {
  it("of equal ones", async () => {
    expect((await run("verify", "--hf-model", "hf", "--megatron-path", "mg", "--report", "verify.html", "--card", "verify.yaml", "-q")).code).toBe(0)
    expect(numbers(text("verify.html")).get("verify.equal")).toBe(104)
    expect(parse(text("verify.yaml"))).toMatchObject({ command: "verify", parity: { verdict: "equal", equal: 104, total: 104, not_equal: [] } })
  })

  it("of different ones: exit code 1, and the reports are there", async () => {
    expect((await run("import", "--hf-model", "hf", "--megatron-path", "half", "--torch-dtype", "float16", "-q")).code).toBe(0)
    const { code } = await run("verify", "hf", "half", "--report", "different.html", "--card", "different.yaml", "-q")
    expect(code).toBe(1)
    const card = parse(text("different.yaml")) as { parity: { verdict: string; equal: number; total: number; not_equal: ReadonlyArray<object> } }
    expect(card.parity.verdict).toBe("different")
    expect(card.parity.not_equal).toHaveLength(card.parity.total - card.parity.equal)
    expect(numbers(text("different.html")).get("verify.equal")).toBe(card.parity.equal)
  })

  it("--deep writes none, and says so", async () => {
    const { code, err } = await run("verify", "--deep", "mg", "--report", "deep.html")
    expect(code).toBe(2)
    expect(err).toContain("verify --deep writes no report")
  })
})

describe("plan and diff", () => {
  it("write the page of an import that is planned, with the checkpoint that it would write", async () => {
    expect(await run("plan", "--hf-model", "hf", "-c", "language=tp=2,dp=2", "-c", "images=tp=1", "--report", "plan.html", "-q")).toEqual({ code: 0, out: "", err: "" })
    expect(text("plan.html")).toContain("The plan holds; nothing has been written")
    expect(text("plan.html")).toContain("Every one of 104 source tensors is accounted for")
    expect(numbers(text("plan.html")).get("subjects.1.totals.tensors")).toBe(numbers(text("import.html")).get("subjects.1.totals.tensors"))
  })

  it("write the page of a planned export", async () => {
    expect((await run("plan", "--hf-model", "hf", "--megatron-path", "mg", "--report", "plan.html", "-q")).code).toBe(0)
    expect(text("plan.html")).toContain("Plan of an export")
  })

  it("write the page of differences, whose exit code stays 1", async () => {
    expect((await run("import", "--hf-model", "hf", "--megatron-path", "cast", "--torch-dtype", "float32", "-q")).code).toBe(0)
    const { code, out } = await run("diff", "mg", "cast", "--report", "diff.html", "--json")
    expect(code).toBe(1)
    const { equal, total } = JSON.parse(out) as { equal: number; total: number }
    const shown = numbers(text("diff.html"))
    expect([shown.get("diff.equal"), shown.get("diff.total")]).toEqual([equal, total])
  })

  it("of differences have no card", async () => {
    const { code, err } = await run("diff", "hf", "mg", "--report", "card.yaml")
    expect(code).toBe(2)
    expect(err).toContain("diff writes a page, and no card")
  })
})

it("a dry run has nothing to report, and says so", async () => {
  for (const flag of ["--report", "--card"]) {
    const { code, err } = await run("import", "--hf-model", "hf", "--megatron-path", "never", "--dry-run", flag, "dry.html")
    expect(code).toBe(2)
    expect(err).toContain(`--dry-run writes nothing, so there is nothing for ${flag} to report`)
  }
  expect(existsSync(join(work, "dry.html"))).toBe(false)
})

it("plan writes the page and the card of what would be done", async () => {
  expect((await run("plan", "--hf-model", "hf", "--report", "plan.html", "--card", "plan.yaml", "-q")).code).toBe(0)
  expect(text("plan.html")).toContain("Import, as planned")
  expect(numbers(text("plan.html")).get("conversion.targetTensors")).toBe(98)
  expect(parse(text("plan.yaml"))).toMatchObject({ command: "plan", conversion: { direction: "import", target: { tensors: 98 } } })
  expect((await run("plan", "--hf-model", "hf", "--megatron-path", "mg", "--report", "plan.html", "-q")).code).toBe(0)
  expect(text("plan.html")).toContain("Export, as planned")
})

describe("report", () => {
  it("of several paths, with the numbers of inspect --json", async () => {
    expect(await run("report", "hf", "mg", "-o", "report.html", "--card", "report.yaml")).toMatchObject({ code: 0, out: "wrote report.html\nwrote report.yaml\n" })
    const shown = numbers(text("report.html"))
    for (const [k, path] of ["hf", "mg"].entries()) {
      const { totals } = JSON.parse((await run("inspect", path, "--json", "--summary")).out) as { totals: Record<string, number> }
      for (const [field, value] of Object.entries(totals)) expect(shown.get(`subjects.${k}.totals.${field}`), field).toBe(value)
    }
  })

  it("of one that exists is replaced, and nothing is left beside it", async () => {
    const before = text("report.html")
    expect((await run("report", "hf", "-o", "report.html", "-q")).code).toBe(0)
    expect(text("report.html")).not.toBe(before)
    expect(readdirSync(work).filter((name) => name.endsWith(".tmp"))).toEqual([])
  })
})

it("a path that cannot be written is refused before the work begins", async () => {
  mkdirSync(join(work, "folder"))
  for (const [flag, path, fragment] of [["--report", "nowhere/x.html", "does not exist"], ["--card", "folder", "exists and is no file"]] as const) {
    const { code, err } = await run("import", "--hf-model", "hf", "--megatron-path", "never", flag, path)
    expect(code).toBe(2)
    expect(err).toContain(fragment)
    expect(existsSync(join(work, "never"))).toBe(false)
  }
})
