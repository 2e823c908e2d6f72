/** What the forward check does not know is refused by name, before anything is read. */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { buildModules } from "../../src/model/ModelModule.ts"
import { decoderPlan } from "../../src/forward/DecoderPlan.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { cliIn } from "../cli/run.ts"
import { toyConfig, toyNames, writeToy } from "./toys.ts"

const work = mkdtempSync(join(tmpdir(), "forward-refused-"))
const run = cliIn(work)
afterAll(() => rmSync(work, { recursive: true, force: true }))
beforeAll(() => writeToy("qwen3-yarn", join(work, "hf")))

const describedBy = (config: unknown) => {
  const family = families.find(config)
  return family.describe(family.schema.parse(config), noHeaders)
}

/** The plan of a toy with these changes to its config.json, and these parameters besides. */
const planOf = (name: string, change: object = {}, besides: ReadonlyArray<string> = []) => {
  const { modules } = describedBy({ ...toyConfig(name) as object, ...change })
  const module = modules.find((own) => own.kind === "language")!
  const prefix = module.path === "" ? "" : `${module.path}.`
  const names = module.entries.filter((e) => e.kind === "parameter" && !e.mtp).map((e) => (e.kind === "parameter" ? e.name.slice(prefix.length) : ""))
  return decoderPlan({ module, blocks: module.blocks, name }, new Map([...names, ...besides].map((own) => [own, own])))
}

describe("a decoder", () => {
  it.each(toyNames)("%s: every parameter has its place", (name) => {
    expect(planOf(name).layers.length).toBeGreaterThan(0)
  })

  it.each(["internvl-internlm2", "internvl-qwen2", "internvl-qwen3-moe-tied"])("%s, as published: every parameter has its place, and it computes what the form of transformers does", (name) => {
    const { llm_config: text, ...config } = JSON.parse(readFileSync(new URL(`../families/toys/${name}.json`, import.meta.url), "utf8")) as { readonly llm_config: object }
    const languageOf = (config: unknown) => describedBy(config).modules.find((own) => own.kind === "language")!
    const published = languageOf({ ...config, llm_config: text })
    const names = published.entries.flatMap((e) => (e.kind === "parameter" ? [e.name.slice("language_model.".length)] : []))
    const { facts, layers } = decoderPlan({ module: published, blocks: published.blocks, name }, new Map(names.map((own) => [own, own])))
    expect(layers).toHaveLength(2)
    expect(facts).toEqual(languageOf({ ...config, text_config: text, architectures: ["InternVLForConditionalGeneration"] }).forward)
  })

  it("with a parameter that nothing here uses", () => {
    expect(() => planOf("mixtral", {}, ["decoder.layers.1.layer_scalar"])).toThrow(/it is not known what its decoder\.layers\.1\.layer_scalar does/)
  })

  it("whose positions are stretched by an unknown rule", () => {
    expect(() => planOf("llama-linear-tied", { rope_parameters: { rope_type: "longrope", rope_theta: 1e4, factor: 4 } })).toThrow(/is not described/)
  })

  it("whose numbers fit no such model", () => {
    expect(() => planOf("minimax-m2-partial", { rotary_dim: 7 })).toThrow(/would turn 7 of 16 elements/)
    expect(() => planOf("mixtral", { num_experts_per_tok: 5 })).toThrow(/5 of 4 experts cannot be chosen/)
    expect(() => planOf("deepseek-v3-groups", { n_group: 3 })).toThrow(/cannot be chosen in 1 of 3 groups/)
  })

  it("whose windows are not understood", () => {
    expect(() => planOf("qwen2-window", { layer_types: ["chunked_attention"] })).toThrow(/is not described/)
  })

  it("with a gate of attention, or another mixer", () => {
    const config = JSON.parse(readFileSync(new URL("../families/toys/qwen3-next-mtp.json", import.meta.url), "utf8")) as { readonly hf?: { readonly config: unknown } }
    const { modules } = describedBy(config.hf?.config ?? config)
    const forward = describedBy(toyConfig("qwen3-yarn")).modules[0]!
    const [language] = modules
    if (language?.kind !== "language" || forward.kind !== "language") throw new Error("both are language models")
    const known = { ...language, forward: { ...forward.forward!, attention: Array.from({ length: language.config.num_layers }, () => forward.forward!.attention[0]!) } }
    expect(() => decoderPlan({ module: known, blocks: buildModules([{ ...known, build: () => {} }])[0]!.blocks, name: "x" }, new Map([["embedding.word_embeddings.weight", 1]]))).toThrow(/has no attention/)
    expect(() => decoderPlan({ module: known, blocks: language.blocks, name: "x" }, new Map([["embedding.word_embeddings.weight", 1]]))).toThrow(/gated-delta-net|output gate/)
  })
})

describe("forward", () => {
  it.each([
    [["hf"], "takes either tokens or a text", 2],
    [["hf", "--tokens", "1,x"], "x is no token id", 2],
    [["hf", "--tokens", "256"], "token 256 is not among the 256 of the vocabulary", 2],
    [["hf", "--tokens", ","], "there is no token to begin with", 2],
    [["hf", "--tokens", "1", "--top", "-1"], "--top", 2],
    [["hf", "--tokens", "1", "--hf-model", "hf"], "describes itself", 2],
    [["hf/model.safetensors", "--tokens", "1"], "", 3],
    [["hf", "--text", "a"], "no tokenizer.json", 4]
  ] as const)("%s", async (args, message, exitCode) => {
    const { code, err } = await run("forward", ...args)
    expect(code).toBe(exitCode)
    expect(err).toContain(message)
  })

  it("unsupported/forward has a code and a hint", async () => {
    expect((await run("sample", "vision", "-q")).code).toBe(0)
    const { code, out } = await run("forward", "vision", "--tokens", "1", "--json")
    expect([code, (JSON.parse(out) as { error: { code: string } }).error.code]).toEqual([4, "unsupported/forward"])
  })

  it("a weight that is missing is named", async () => {
    mkdirSync(join(work, "other"))
    copyFileSync(join(work, "hf", "model.safetensors"), join(work, "other", "model.safetensors"))
    writeFileSync(join(work, "other", "config.json"), JSON.stringify({ ...toyConfig("qwen3-yarn") as object, num_hidden_layers: 5 }))
    const { code, err } = await run("forward", "other", "--tokens", "1")
    expect([code, err]).toEqual([3, expect.stringContaining("model.layers.4.")])
  })
})
