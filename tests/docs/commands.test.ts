/**
 * Every command line of the documents runs as it is printed, on samples, and prints what is printed below it. A document prepares what
 * its reader would have in comments (`<!-- run`); lines that need another machine, a network or a GPU stand in blocks marked `sh elsewhere`.
 */
import { Effect } from "effect"
import { families } from "../../routes/index.ts"
import { openBase } from "../../src/adapters/BaseModel.ts"
import { Disk } from "../../src/io/Disk.ts"
import { groupsOf, writeRandomAdapter } from "../adapters/randomAdapter.ts"
import { trainingCheckpoint } from "../conformance/training.ts"
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { commandWords, wholeRoot } from "../../src/cli/root.ts"
import { runCli } from "../cli/run.ts"
import { program } from "../program.ts"
import { blocksOf, type Line, linesOf, printsAs, wordsOf } from "./shellLines.ts"

const root = new URL("../..", import.meta.url).pathname
const PROGRAM = "convert_megatron_mimo"
/** Answers that a document may show, besides "yes". */
const MAY_DIFFER: ReadonlySet<string | undefined> = new Set(["diff", "doctor", "verify"])
/** Examples that write as much as this, or to a bucket, are left to their readers. */
const LARGE = "--size 10GB"
/** Their commands are those of other documents. */
const GENERATED: ReadonlySet<string> = new Set(["docs/cli.md", "docs/models.md", "docs/errors.md"])

const work = mkdtempSync(join(tmpdir(), "docs-"))
const bin = join(work, "bin")
afterAll(() => rmSync(work, { recursive: true, force: true }))
beforeAll(() => {
  mkdirSync(bin)
  writeFileSync(join(bin, PROGRAM), `#!/bin/sh\nexec "${process.execPath}" "${program}" "$@"\n`, { mode: 0o755 })
})

const allWords = await commandWords()
const markdown = ["README.md", ...(readdirSync(join(root, "docs"), { recursive: true }) as Array<string>).filter((name) => name.endsWith(".md")).map((name) => join("docs", name)).sort()]
const read = (path: string): string => readFileSync(join(root, path), "utf8")

const inShell = (text: string, cwd: string) => {
  const { status, stderr, stdout } = spawnSync("bash", ["-c", text], {
    cwd,
    encoding: "utf8",
    env: { ...process.env, PATH: `${bin}:${process.env["PATH"]}`, NO_COLOR: "1", COLUMNS: "80" }
  })
  return { code: status ?? -1, out: stdout, err: stderr }
}

/** In this process, unless it needs a shell, or packages: those are looked for from where the program is. */
const run = (text: string, cwd: string) => {
  const [name, ...args] = wordsOf(text) ?? []
  return name === PROGRAM && args[0] !== "forward" ? runCli(args, { cwd }) : inShell(text, cwd)
}

const check = async ({ output, text }: Line, cwd: string): Promise<void> => {
  const { code, err, out } = await run(text, cwd)
  const command = wordsOf(text)?.[1]
  expect(code === 1 && output !== undefined && MAY_DIFFER.has(command) ? 0 : code, `${text}\n${err}${out}`).toBe(0)
  if (output !== undefined && output !== "") expect(out, text).toMatch(printsAs(output))
}

describe.each(markdown.filter((path) => !GENERATED.has(path) && linesOf(read(path)).length > 0))("%s", (path) => {
  const folder = join(work, path.replaceAll(/\W/g, "-"))
  beforeAll(() => { mkdirSync(folder) })

  it.each(linesOf(read(path)).map((line) => [line.at, line.text.trim(), line] as const))("line %i: %s", (_, __, line) => check(line, folder))
})

describe("docs/cli.md", () => {
  /** What the examples name, made once. */
  const ready = join(work, "ready")
  const fresh = join(work, "fresh")
  beforeAll(async () => {
    mkdirSync(ready)
    for (const text of [
      "sample ./hf", "sample ./hf-fp8 --model deepseek-v3-fp8", "import --hf-model ./hf --megatron-path ./megatron", "import --hf-model ./hf --megatron-path ./standard --standard",
      "import --hf-model ./hf-fp8 --megatron-path ./megatron-fp8", "sample ./moe --model qwen3-moe", "import --hf-model ./moe --megatron-path ./gpt",
      "relabel ./megatron ./trained --to ddp", "relabel ./megatron ./run --to ddp"
    ]) expect(await runCli([...text.split(" "), "-q"], { cwd: ready }), text).toMatchObject({ code: 0 })
    for (const [seed, [name, model]] of ([["adapter", "hf"], ["a", "hf"], ["b", "hf"], ["moe-adapter", "moe"]] as const).entries()) {
      const { conversion: { parameters } } = (await Effect.runPromise(openBase(families, join(ready, model)).pipe(Effect.provide(Disk.layer)))).as("auto")
      writeRandomAdapter(join(ready, name), groupsOf(parameters), () => "last", { seed: seed + 1, rank: 2, sharedInput: true })
    }
    expect(await runCli("adapter import --hf-model ./hf --adapter ./adapter --megatron-path ./lora -q".split(" "), { cwd: ready })).toMatchObject({ code: 0 })
    renameSync(join(ready, "run", "iter_0000000"), join(ready, "run", "iter_0001000"))
    expect(await runCli("publish ./run/iter_0001000 ./versions --hf-model ./hf -q".split(" "), { cwd: ready })).toMatchObject({ code: 0 })
    cpSync(trainingCheckpoint("legacy-tp2pp2"), join(ready, "old"), { recursive: true })
    // A run of Megatron-LM, with three iterations.
    cpSync(trainingCheckpoint("lm-fully-reshardable-tp2pp2"), join(ready, "pretraining"), { recursive: true })
    for (const step of ["0001000", "0001100", "0001200"]) cpSync(join(ready, "pretraining", "iter_0000003"), join(ready, "pretraining", `iter_${step}`), { recursive: true })
    mkdirSync(join(ready, "tokenizer"))
    for (const name of ["tokenizer.json", "tokenizer_config.json"]) cpSync(join(ready, "hf", name), join(ready, "tokenizer", name))
    for (const [from, to] of [["hf", "base"], ["hf", "finetuned"], ["hf", "exported"]] as const) cpSync(join(ready, from), join(ready, to), { recursive: true })
  })

  const examples = allWords.flatMap((words) => {
    const shown = new RegExp(`\n## ${words.join(" ")}\n[^]*?\nEXAMPLES\n([^]*?)\n\`\`\``).exec(read("docs/cli.md"))?.[1] ?? ""
    return shown.replaceAll(/\\\n\s+/g, "").split("\n").map((line) => line.trim()).filter((line) => line.startsWith(PROGRAM))
  })

  /** What an example writes must not be there. */
  const targetOf = (text: string): string | undefined => {
    const words = wordsOf(text) ?? []
    const after = (flag: string) => words[words.indexOf(flag) + 1]
    const places: Readonly<Record<string, string | undefined>> = { import: after("--megatron-path"), export: after("--hf-path"), relabel: words[3], reshard: words[3], "merge-iterations": words[3], prune: "nowhere", publish: words[3], pull: words[3], sample: words.at(-1), setup: words[3] }
    return places[words[1]!]
  }

  it("has examples of every command that does something", async () => {
    const shown = new Set(examples.map((line) => line.split(" ")[1]))
    expect((await wholeRoot()).subcommands.flatMap((group) => group.commands.map(({ name }) => name)).filter((name) => !shown.has(name))).toEqual(["help", "version"])
  })

  /** What the examples of a command call by the usual names, where it is not the usual sample. */
  const STANDS: Readonly<Record<string, Readonly<Record<string, string>>>> = { forward: { hf: "moe", megatron: "gpt", adapter: "moe-adapter" } }

  // What serves or watches does not end, and engines are not here: tests/serve, tests/rollout and tests/cli/documents.test.ts run them.
  const isEndless = (text: string): boolean => / --(watch|engine)\b/.test(text) || ["serve", "push"].includes(wordsOf(text)?.[1] ?? "")
  it.each([...new Set(examples)].filter((text) => !text.includes(LARGE) && !text.includes("s3://") && !isEndless(text)))("%s", async (text) => {
    const stands = STANDS[wordsOf(text)?.[1] ?? ""]
    if (stands) {
      rmSync(fresh, { recursive: true, force: true })
      mkdirSync(fresh)
      for (const [name, real] of Object.entries(stands)) cpSync(join(ready, real), join(fresh, name), { recursive: true })
      return check({ at: 0, text, output: "", hidden: false }, fresh)
    }
    const target = targetOf(text)
    if (target === undefined) return check({ at: 0, text, output: "", hidden: false }, ready)
    rmSync(fresh, { recursive: true, force: true })
    mkdirSync(fresh)
    const named = readdirSync(ready).filter((name) => name !== target.replace(/^\.\//, "") && text.includes(name))
    for (const name of named) cpSync(join(ready, name), join(fresh, name), { recursive: true })
    await check({ at: 0, text, output: "", hidden: false }, fresh)
  })
})

describe("blocks", () => {
  it("of other kinds hold no commands that nobody runs", () => {
    const kinds = markdown.flatMap((path) => blocksOf(read(path)).map(({ info }) => `${path}: ${info}`))
    const known = /: (sh|sh elsewhere, \S.*|text|ts|json|yaml|hidden)$/
    expect(kinds.filter((kind) => !known.test(kind))).toEqual(["README.md: bash"])
  })

  it("elsewhere are few", () => {
    const elsewhere = markdown.flatMap((path) => blocksOf(read(path)).filter(({ info }) => info.startsWith("sh elsewhere")))
    const here = markdown.flatMap((path) => linesOf(read(path)))
    expect(elsewhere.length).toBeLessThan(here.length / 3)
  })
})
