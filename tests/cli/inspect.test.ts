/** `inspect` in a terminal, in a pipe, in a pipe that is closed. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { program } from "../program.ts"
import { runCli } from "./run.ts"

const work = mkdtempSync(join(tmpdir(), "inspect-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

const run = (args: ReadonlyArray<string>, columns?: number) =>
  runCli(args, { cwd: work, env: { COLUMNS: columns === undefined ? undefined : String(columns) } })

beforeAll(async () => {
  expect((await run(["sample", "hf", "-q"])).code).toBe(0)
  expect((await run(["import", "--hf-model", "hf", "--megatron-path", "mg", "-q"])).code).toBe(0)
})

it.each([[[]], [["--list"]], [["--stats"]], [["--chunks"]]])("fits 80 columns but for names that are longer: %s", async (flags) => {
  const { out } = await run(["inspect", "mg", ...flags], 80)
  const tooLong = out.split("\n").filter((line) => line.length > 80 && !/^ +\S{60,}/.test(line))
  expect(tooLong).toEqual([])
})

it("in a pipe: columns as wide as they need, no colours", async () => {
  const { out } = await run(["inspect", "mg", "--list"])
  expect(out).not.toContain("\u001b")
  expect(out).toMatch(/^ {2}language_model\.embedding\.word_embeddings\.weight +BF16 +\[1000, 64\] +128 KB +1 +rank 0$/m)
})

it("a reader that has seen enough is no failure", () => {
  const { stderr, stdout } = spawnSync("bash", ["-c", '"$NODE" "$BIN" inspect mg --chunks --json | head -c 10; echo " ${PIPESTATUS[0]}"'], { encoding: "utf8", cwd: work, env: { ...process.env, NODE: process.execPath, BIN: program } })
  expect(stderr).toBe("")
  expect(stdout).toMatch(/ 0\n$/)
})

it("the same numbers as text, CSV and JSON", async () => {
  const json = JSON.parse((await run(["inspect", "mg", "--json"])).out) as { totals: { tensors: number; chunks: number }; tensors: ReadonlyArray<{ name: string; bytes: number; chunks: number }> }
  const csv = (await run(["inspect", "mg", "--csv"])).out.trimEnd().split("\n").slice(1).map((line) => line.split(","))
  expect(csv.map((row) => [row[0], Number(row[3]), Number(row[7])])).toEqual(json.tensors.map((t) => [t.name, t.bytes, t.chunks]))
  expect((await run(["inspect", "mg", "--summary"])).out).toContain(`${json.totals.tensors} tensors,`)
  expect((await run(["inspect", "mg", "--csv", "--chunks"])).out.trimEnd().split("\n")).toHaveLength(1 + json.totals.chunks)
})
