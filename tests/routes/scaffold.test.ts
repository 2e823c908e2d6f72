/**
 * What `scaffold` writes: of models whose names the shared tables have, a whole family that type-checks and converts like the one
 * that is here; of others, a start that says what is open.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { scaffold } from "../../routes/scaffold/index.ts"
import type { Family } from "../../src/bridge/Family.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { planImport } from "../../src/plan/ImportPlan.ts"
import { describeSource } from "../../src/plan/importRelation.ts"
import { recognise } from "../../src/recognise/patterns.ts"
import { cliIn } from "../cli/run.ts"
import { sourceOf, type Toy, toys } from "../families/toys.ts"

const root = new URL("../..", import.meta.url).pathname
const work = mkdtempSync(join(tmpdir(), "scaffold-"))
afterAll(() => rmSync(work, { recursive: true }))

/** A place that has what a file in `routes/` imports. */
mkdirSync(join(work, "routes"))
for (const [link, target] of [["routes/shared", "routes/shared"], ["src", "src"], ["node_modules", "node_modules"]] as const) symlinkSync(join(root, target), join(work, link))

const toyNamed = (name: string): Toy => toys.find((toy) => toy.name === name)!
const textOf = (toy: Toy, inRepository: boolean): string =>
  scaffold({ architecture: toy.architecture, config: toy.config, patterns: recognise(toy.tensors), inRepository })

const plan = (family: Family, toy: Toy) =>
  planImport(family, sourceOf(toy, toy.tensors), { torchDtype: "source", mtp: "keep", allowUnmapped: [], form: "standard", layout: () => standardLayout({}), step: 0 })

/** Of every kind of layer and of name: dense and MoE, latent, fused, biased, normed behind, with multi-token prediction; with towers. */
const WHOLE = [
  "llama-biased-a", "qwen2-a", "qwen3-moe-packed-a", "qwen2-moe-dense-layers", "mixtral", "olmoe-a", "exaone-4-tied-a", "gemma2-a", "nemotron-4-a",
  "glm-4.5-a", "deepseek-v3-noqlora-a", "glm-4.7-flash-a", "bailing-moe-v2-mtp", "solar-open-biased", "qwen2.5-vl-newnames", "glm-4.5v-packed", "qwen2-audio-a"
]
const fileOf = (name: string): string => join(work, "routes", `${name.replaceAll(/\W/g, "_")}.ts`)
for (const name of WHOLE) writeFileSync(fileOf(name), textOf(toyNamed(name), true))

it.each(WHOLE)("%s: the same checkpoint as with the family that is here", async (name) => {
  const toy = toyNamed(name)
  const [own] = Object.values(await import(/* @vite-ignore */ fileOf(name)) as Record<string, Family>)
  const [found, wanted] = [families.replacing(own!), families].map((registry) => plan(registry.find(toy.config), toy))
  expect(found!.checkpoint.metadata).toEqual(wanted!.checkpoint.metadata)
  const components = [families.replacing(own!), families].map((registry) => describeSource(registry.find(toy.config), sourceOf(toy, toy.tensors)).description.components)
  expect(components[0]!.map((c) => [c.name, c.sourcePrefix, c.also?.map((r) => r.sourcePrefix)])).toEqual(components[1]!.map((c) => [c.name, c.sourcePrefix, c.also?.map((r) => r.sourcePrefix)]))
})

it("every one of them type-checks", () => {
  // Without it tsc takes the files for CommonJS.
  writeFileSync(join(work, "package.json"), JSON.stringify({ type: "module" }))
  writeFileSync(join(work, "tsconfig.json"), JSON.stringify({ extends: join(root, "tsconfig.json"), compilerOptions: { noEmit: true, rootDir: "/", types: ["node"] }, include: ["routes/*.ts"] }))
  const tsc = createRequire(import.meta.url).resolve("typescript/package.json").replace("package.json", "bin/tsc")
  expect(execFileSync(process.execPath, [tsc, "--project", work], { encoding: "utf8" })).toBe("")
})

describe("the text", () => {
  it("uses the shared tables, imported as where it will stand", () => {
    const toy = toyNamed("solar-open")
    expect(textOf(toy, true)).toContain("import { attention } from \"./shared/blocks.ts\"\n")
    const outside = textOf(toy, false)
    expect(outside).toContain("} from \"megatron-mimo-bridge/family\"\n")
    expect(outside).toContain("      ...tables.attention,\n      ...router(\"mlp.gate.weight\", \"mlp.gate.e_score_correction_bias\"),\n      ...sharedExperts(),\n      ...routedExperts(tc, lying)\n")
    expect(outside).toContain("name: \"solar-open\"")
  })

  it("leaves as comments what no table has", () => {
    const text = textOf(toyNamed("internvl-qwen2"), true)
    expect(text).toContain("// Tensors outside of the language model's layers: give each a module and a row, or carry it.\n")
    expect(text).toContain("// \"<megatron name>\": \"vision_model.encoder.layers.*.attn.qkv.weight\",\n")
  })

  it("takes nothing of a stranger's names for code", async () => {
    const names = ["model.layers.0.self_attn.q_proj.weight", "x*/ moe.GROUPED `${process.exit()}`\n", "model.layers.0.\u0001blocks.qkNorm"]
    const patterns = recognise(names.map((name) => ({ name, shape: [2, 2] })))
    const text = scaffold({ architecture: "Evil*/ process.exit() //ForCausalLM", config: {}, patterns, inRepository: true })
    const file = join(work, "routes", "evil.ts")
    writeFileSync(file, text)
    const [own] = Object.values(await import(/* @vite-ignore */ file) as Record<string, Family>)
    expect(own!.architectures).toEqual(["Evil*/ process.exit() //ForCausalLM"])
    expect(text.split("\n").filter((line) => line.includes("process.exit") && !/^ \* |^(\s*)(\/\/|name:|architectures:)/.test(line))).toEqual([])
    rmSync(file)
  })

  it("is written by the command for the place that is named", async () => {
    const run = cliIn(work)
    expect((await run("sample", "hf", "--model", "qwen3-moe", "--quiet")).code).toBe(0)
    expect((await run("scaffold", "hf", "-o", "routes/new.ts")).code).toBe(0)
    expect((await run("scaffold", "hf", "-o", "elsewhere/new.ts")).code).toBe(0)
    const importsOf = (file: string) => readFileSync(join(work, file), "utf8").match(/^import .* from "[.m].*"$|^} from ".*"$/gm)
    expect(importsOf("routes/new.ts")).toContain("import { family } from \"../src/bridge/Family.ts\"")
    expect(importsOf("elsewhere/new.ts")).toEqual(["} from \"megatron-mimo-bridge/family\""])
    const { code, err } = await run("plan", "--hf-model", "hf", "--family", "routes/new.ts")
    expect([code, err]).toEqual([0, "note: code of yours is run: routes/new.ts\n"])
  })
})
