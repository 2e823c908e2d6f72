/** `inspect` in a terminal, in a pipe, in a pipe that is closed. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"

const bin = new URL("../../src/cli/bin.ts", import.meta.url).pathname
const work = mkdtempSync(join(tmpdir(), "inspect-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

const run = (args: ReadonlyArray<string>, columns?: number) => {
  const { COLUMNS: _, ...env } = process.env
  return spawnSync(process.execPath, [bin, ...args], { encoding: "utf8", cwd: work, env: { ...env, ...(columns === undefined ? {} : { COLUMNS: String(columns) }) } })
}

beforeAll(() => {
  expect(run(["sample", "hf", "-q"]).status).toBe(0)
  expect(run(["import", "--hf-model", "hf", "--megatron-path", "mg", "-q"]).status).toBe(0)
})

it.each([[[]], [["--list"]], [["--stats"]], [["--chunks"]]])("fits 80 columns but for names that are longer: %s", (flags) => {
  const { stdout } = run(["inspect", "mg", ...flags], 80)
  const tooLong = stdout.split("\n").filter((line) => line.length > 80 && !/^ +\S{60,}/.test(line))
  expect(tooLong).toEqual([])
})

it("in a pipe: columns as wide as they need, no colours", () => {
  const { stdout } = run(["inspect", "mg", "--list"])
  expect(stdout).not.toContain("\u001b")
  expect(stdout).toMatch(/^ {2}language_model\.embedding\.word_embeddings\.weight +BF16 +\[1000, 64\] +128 KB +1 +rank 0$/m)
})

it("a reader that has seen enough is no failure", () => {
  const { stderr, stdout } = spawnSync("bash", ["-c", '"$NODE" "$BIN" inspect mg --chunks --json | head -c 10; echo " ${PIPESTATUS[0]}"'], { encoding: "utf8", cwd: work, env: { ...process.env, NODE: process.execPath, BIN: bin } })
  expect(stderr).toBe("")
  expect(stdout).toMatch(/ 0\n$/)
})

it("the same numbers as text, CSV and JSON", () => {
  const json = JSON.parse(run(["inspect", "mg", "--json"]).stdout) as { totals: { tensors: number; chunks: number }; tensors: ReadonlyArray<{ name: string; bytes: number; chunks: number }> }
  const csv = run(["inspect", "mg", "--csv"]).stdout.trimEnd().split("\n").slice(1).map((line) => line.split(","))
  expect(csv.map((row) => [row[0], Number(row[3]), Number(row[7])])).toEqual(json.tensors.map((t) => [t.name, t.bytes, t.chunks]))
  expect(run(["inspect", "mg", "--summary"]).stdout).toContain(`${json.totals.tensors} tensors,`)
  expect(run(["inspect", "mg", "--csv", "--chunks"]).stdout.trimEnd().split("\n")).toHaveLength(1 + json.totals.chunks)
})
