/** Families in files of the user's (`--family`): as the published package loads them, and what is wrong with those that are none. */
import { execFileSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { bundleLibrary } from "../../scripts/bundle.ts"
import { withFamilyFiles } from "../../src/api/familyFiles.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { familiesFromFiles, importCheckpoint } from "../../src/index.ts"
import { Disk } from "../../src/io/Disk.ts"
import { cliIn } from "../cli/run.ts"
import { beacon } from "./family/beacon.ts"

const root = new URL("../..", import.meta.url).pathname
const work = mkdtempSync(join(tmpdir(), "family-"))
const at = (...names: ReadonlyArray<string>) => join(work, ...names)
afterAll(() => rmSync(work, { recursive: true }))

const config = {
  architectures: ["BeaconForConditionalGeneration"],
  text_config: { dtype: "bfloat16", hidden_size: 64, intermediate_size: 96, num_attention_heads: 4, num_hidden_layers: 3, num_key_value_heads: 2, vocab_size: 100 },
  vision_config: { hidden_size: 24, num_heads: 2, num_layers: 2, patch_size: 4 }
}

const run = cliIn(work)
const write = (name: string, text: string): string => {
  writeFileSync(at(name), text)
  return name
}

beforeAll(async () => {
  await Effect.runPromise(writeSample(families.with(beacon), { config, fp32: /(?!)/, shardBytes: 30_000 }, at("hf"), { overwrite: false }).pipe(Effect.provide(Disk.layer)))
})

/** A project of somebody who installed the package: its files, and its peers beside it. */
const project = async (): Promise<string> => {
  const folder = at("project")
  const installed = join(folder, "node_modules", "megatron-mimo-bridge")
  mkdirSync(installed, { recursive: true })
  await bundleLibrary(join(installed, "dist"))
  copyFileSync(join(root, "package.json"), join(installed, "package.json"))
  for (const peer of ["effect", "zod", "yaml"]) symlinkSync(join(root, "node_modules", peer), join(folder, "node_modules", peer))
  writeFileSync(join(folder, "package.json"), "{ \"private\": true, \"type\": \"module\" }")
  copyFileSync(join(root, "tests/api/family/beacon.ts"), join(folder, "beacon.ts"))
  return folder
}

/** The command as it is published, a process each. */
const published = (folder: string, ...args: ReadonlyArray<string>): string =>
  execFileSync(process.execPath, [process.env["COMMAND_UNDER_TEST"]!, ...args], { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] })

it("a file outside this repository, with a mapping kind of its own: import, verify and export give the same bytes", async () => {
  const folder = await project()
  const imported = JSON.parse(published(folder, "import", "--hf-model", at("hf"), "--megatron-path", "megatron", "--family", "beacon.ts", "-c", "language=tp=2", "-c", "images=tp=1", "--json"))
  expect(imported).toMatchObject({ family: "beacon", form: "mimo", notes: expect.arrayContaining(["the family beacon is code of beacon.ts"]) })
  expect(published(folder, "verify", at("hf"), "megatron", "--family", "beacon.ts")).toMatch(/^(\d+)\/\1 equal\n$/)
  published(folder, "export", "--hf-model", at("hf"), "--megatron-path", "megatron", "--hf-path", "exported", "--family", "beacon.ts", "--quiet")
  for (const file of readdirSync(at("hf"))) expect(readFileSync(join(folder, "exported", file)).equals(readFileSync(at("hf", file))), file).toBe(true)
  // What an error of the file's own copy of the package says of config.json is said here, at its place.
  const broken = join(folder, "broken")
  mkdirSync(broken)
  writeFileSync(join(broken, "config.json"), JSON.stringify({ ...config, text_config: { ...config.text_config, hidden_size: 13, head_dim: 16 } }))
  for (const file of readdirSync(at("hf"))) if (file !== "config.json") copyFileSync(at("hf", file), join(broken, file))
  expect(() => published(folder, "plan", "--hf-model", "broken", "--family", "beacon.ts")).toThrow(/broken\/config\.json \(field text_config\.hidden_size.*\): thirteen is no size/)
})

describe("on the command line", () => {
  const plain = (describe: string, architectures = "[\"Plain\"]") =>
    `export const plain = { name: "plain", architectures: ${architectures}, schema: { safeParse: (data) => ({ success: true, data }) }, describe: () => { ${describe} } }\n`

  it("says that code of the user's is run, before it is", async () => {
    const file = write("spoken.mjs", "throw new Error(\"spoken\")\n")
    const { code, err } = await run("plan", "--hf-model", "hf", "--family", file)
    expect([code, err]).toEqual([3, expect.stringMatching(/^note: code of yours is run: spoken\.mjs\nerror: spoken\.mjs: it cannot be loaded: spoken\n/)])
    expect((await run("plan", "--hf-model", "hf", "--family", file, "--json")).err).toBe("")
  })

  it.each([
    ["missing.mjs", undefined, "file/missing", "does not exist"],
    ["syntax.mjs", "export const = 1\n", "family/not-loaded", "it cannot be loaded"],
    ["nothing.mjs", "export const one = 1\n", "family/no-family", "the module exports no family"],
    ["half.mjs", "export const half = { name: \"half\", architectures: [\"Half\"] }\n", "family/not-a-family", "the export half has no schema, as a family has"],
    ["routes.mjs", "export const mimoRoutes = { Any: [{ name: \"language\" }] }\n", "family/not-a-family", "mimoRoutes: the components of Any are none"],
    ["throws.mjs", plain("return undefined.x", "[\"BeaconForConditionalGeneration\"]"), "family/failed", "the family plain failed: Cannot read properties of undefined"],
    ["picky.mjs", "export const picky = { name: \"picky\", architectures: [\"BeaconForConditionalGeneration\"], schema: { safeParse: () => ({ success: false }) }, describe: () => ({}) }\n", "family/failed", "the family picky failed: its schema refuses without saying why"],
    ["hollow.mjs", plain("return { model: [] }", "[\"BeaconForConditionalGeneration\"]"), "family/failed", "the family plain describes models without modules"]
  ])("%s", async (name, text, code, problem) => {
    if (text !== undefined) write(name, text)
    const { out } = await run("plan", "--hf-model", "hf", "--family", name, "--json")
    expect(JSON.parse(out)).toMatchObject({ ok: false, error: { code, path: name, message: expect.stringContaining(`${name}: ${problem}`) } })
  })

  it("two files for one architecture", async () => {
    const files = ["first.mjs", "second.mjs"].map((name) => write(name, plain("return {}")))
    const { code, err } = await run("inspect", "hf", ...files.flatMap((file) => ["--family", file]))
    expect([code, err]).toEqual([3, expect.stringContaining("second.mjs: Plain has a family already, of first.mjs")])
  })

  it("every command that has to know the model takes one", async () => {
    const file = write("known.mjs", `export { beacon } from ${JSON.stringify(join(root, "tests/api/family/beacon.ts"))}\n`)
    const family = ["--family", file] as const
    const expectDone = async (...args: ReadonlyArray<string>) => {
      const { code, err } = await run(...args, ...family)
      expect([args[0], code, err.replace(/^note: .*\n/, "")]).toEqual([args[0], 0, ""])
    }
    await expectDone("import", "--hf-model", "hf", "--megatron-path", "mg", "--no-progress")
    await expectDone("export", "--hf-model", "hf", "--megatron-path", "mg", "--hf-path", "out", "--report", "page.html", "--no-progress")
    await expectDone("verify", "hf", "mg", "--no-progress")
    await expectDone("diff", "hf", "mg", "--no-progress")
    await expectDone("roundtrip", "--hf-model", "hf", "--no-progress")
    await expectDone("inspect", "hf")
    await expectDone("doctor", "hf")
    await expectDone("report", "hf", "mg", "-o", "report.html")
    await expectDone("relabel", "mg", "standard", "--to", "standard", "--hf-model", "hf", "--no-progress")
    await expectDone("plan", "--hf-model", "hf", "--megatron-path", "standard")
    expect((await run("plan", "--hf-model", "hf")).err).toContain("no family here answers to its architecture")
  })
})

it("explicit MIMO routes for a model that is known: its components are those", async () => {
  const [toy] = ["Qwen3ForCausalLM"]
  const file = write("routes-of-mine.mjs", `export const mimoRoutes = { ${toy}: () => [
  { name: "language", sourcePrefix: "decoder.", targetModulePath: "language_model.decoder", also: [{ sourcePrefix: "output_layer.", targetModulePath: "language_model.output_layer" }] },
  { name: "words", sourcePrefix: "embedding.", targetModulePath: "modality_submodules.words.encoders.table" }
] }\n`)
  const registry = await familiesFromFiles([at(file)])
  const small = { architectures: [toy], dtype: "bfloat16", hidden_size: 32, intermediate_size: 48, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 16, num_hidden_layers: 2, vocab_size: 64 }
  await Effect.runPromise(writeSample(families, { config: small, fp32: /(?!)/, shardBytes: 1e6 }, at("words"), { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  const { components } = await importCheckpoint({ hfModel: at("words"), families: registry }, at("words-mg"))
  expect(components.map((c) => c.name)).toEqual(["language", "words"])
})

it("a family of the user's wins over the one that is built in, for its architectures only", async () => {
  const file = write("mine.mjs", "export const mine = { name: \"mine\", architectures: [\"ExaoneMoeForCausalLM\"], schema: { safeParse: () => ({ success: false }) }, describe: () => ({}) }\n")
  const registry = await Effect.runPromise(withFamilyFiles([at(file)]).pipe(Effect.provide(Disk.layer)))
  const nameOf = (architecture: string) => registry.find({ architectures: [architecture] }).name
  expect([nameOf("ExaoneMoeForCausalLM"), nameOf("ExaoneMoEForCausalLM"), nameOf("LlamaForCausalLM")]).toEqual(["mine", "exaone-moe", "llama"])
})
