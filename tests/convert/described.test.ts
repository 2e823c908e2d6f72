/** Exports without a Hugging Face model: checkpoints of Megatron-LM, described by the arguments of their runs; and one with run_config.yaml. */
import { createHash } from "node:crypto"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { exportDescribed, importCheckpoint, verifyCheckpoint, writeSampleModel } from "../../src/index.ts"
import { trainingCheckpoint, trainingFacts } from "../conformance/training.ts"

const work = mkdtempSync(join(tmpdir(), "described-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

/** Data of the tensors of one safetensors file. */
const tensorsOf = (directory: string): ((name: string) => Buffer) => {
  const bytes = readFileSync(join(directory, "model.safetensors"))
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString()) as Record<string, { data_offsets: [number, number] }>
  return (name) => {
    const [from, to] = header[name]!.data_offsets
    return bytes.subarray(8 + length + from, 8 + length + to)
  }
}

const sha = (parts: ReadonlyArray<Buffer>): string => parts.reduce((hash, part) => hash.update(part), createHash("sha256")).digest("hex")
const configOf = (directory: string) => JSON.parse(readFileSync(join(directory, "config.json"), "utf8")) as Record<string, unknown>

describe("a checkpoint of Megatron-LM", () => {
  it.each([["lm-weights-only-tp2", "LlamaForCausalLM"], ["lm-moe-fully-reshardable-ep2", "MixtralForCausalLM"]])("%s is exported as %s, with the tensors that were recorded", async (name, architecture) => {
    const target = join(work, name)
    const report = await exportDescribed(trainingCheckpoint(name), target)
    expect(report.architecture).toBe(architecture)
    expect(report.leftBehind).toEqual([])
    const facts = trainingFacts(name).tensors
    const tensor = tensorsOf(target)
    const layers = (suffix: string) => [0, 1].map((layer) => tensor(`model.layers.${layer}.${suffix}.weight`))
    const moe = architecture === "MixtralForCausalLM"
    for (const [key, parts] of [
      ["embedding.word_embeddings.weight", [tensor("model.embed_tokens.weight")]],
      ["decoder.final_layernorm.weight", [tensor("model.norm.weight")]],
      ["output_layer.weight", [tensor("lm_head.weight")]],
      ["decoder.layers.self_attention.linear_proj.weight", layers("self_attn.o_proj")],
      ["decoder.layers.self_attention.linear_qkv.layer_norm_weight", layers("input_layernorm")],
      ["decoder.layers.mlp.linear_fc1.layer_norm_weight", layers("post_attention_layernorm")],
      ...moe ? [] : [["decoder.layers.mlp.linear_fc2.weight", layers("mlp.down_proj")] as const]
    ] as const) expect([key, sha(parts)]).toEqual([key, facts[key]!.sha256])
    const verified = await verifyCheckpoint({ hfModel: target }, trainingCheckpoint(name))
    expect(verified.equal).toBe(verified.total)
    expect(configOf(target)).toMatchObject({ vocab_size: 40, hidden_size: 16, num_key_value_heads: 2, head_dim: 4, torch_dtype: "bfloat16", eos_token_id: null })
  })

  it("takes a tokenizer, and its special tokens", async () => {
    const tokenizer = join(work, "tokenizer")
    mkdirSync(tokenizer)
    writeFileSync(join(tokenizer, "tokenizer.json"), JSON.stringify({ model: { vocab: { a: 0, "<s>": 1 } }, added_tokens: [{ id: 2, content: "</s>" }] }))
    writeFileSync(join(tokenizer, "tokenizer_config.json"), JSON.stringify({ bos_token: "<s>", eos_token: { content: "</s>" }, pad_token: "<unknown>" }))
    writeFileSync(join(tokenizer, "notes.json"), "{}")
    const target = join(work, "with-tokenizer")
    const report = await exportDescribed(trainingCheckpoint("lm-weights-only-tp2"), target, { tokenizer })
    expect(configOf(target)).toMatchObject({ bos_token_id: 1, eos_token_id: 2, pad_token_id: null })
    expect(readFileSync(join(target, "tokenizer.json"), "utf8")).toBe(readFileSync(join(tokenizer, "tokenizer.json"), "utf8"))
    expect(() => readFileSync(join(target, "notes.json"))).toThrow("ENOENT")
    expect(report.notes.join()).not.toContain("--tokenizer")
  })

  it("is cut to a vocabulary on demand, and refused where its description fits no model", async () => {
    const cut = join(work, "cut")
    await exportDescribed(trainingCheckpoint("lm-weights-only-tp2"), cut, { vocabSize: 39 })
    expect(configOf(cut)["vocab_size"]).toBe(39)
    await expect(exportDescribed(trainingCheckpoint("lm-weights-only-tp2"), join(work, "no"), { architecture: "Qwen3ForCausalLM" })).rejects.toMatchObject({ code: "unsupported/implied-config" })
    await expect(exportDescribed(trainingCheckpoint("lm-weights-only-tp2"), join(work, "no"), { architecture: "Gemma" })).rejects.toMatchObject({ _tag: "UsageError" })
    await expect(exportDescribed(trainingCheckpoint("mimo-no-ddp-weights"), join(work, "no"))).rejects.toThrow("a model with components is described by its config.json")
  })
})

it("a checkpoint with run_config.yaml says its model itself", async () => {
  const [hf, megatron, target] = ["hf", "megatron", "again"].map((name) => join(work, name)) as [string, string, string]
  await writeSampleModel(hf, { model: "qwen3-moe" })
  await importCheckpoint({ hfModel: hf, standard: true }, megatron)
  await exportDescribed(megatron, target)
  const verified = await verifyCheckpoint({ hfModel: target }, megatron)
  expect(verified.equal).toBe(verified.total)
  expect(configOf(target)["architectures"]).toEqual(configOf(hf)["architectures"])
})
