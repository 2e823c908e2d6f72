/** Arguments of a run against its tensors: no word where they fit, the argument and the tensor where they do not. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { argumentsOfProvider } from "../../src/arguments/fromProvider.ts"
import { readArguments, TrainingArguments } from "../../src/arguments/TrainingArguments.ts"
import { examineArguments } from "../../src/doctor/argumentsCheck.ts"
import { examineCheckpoint } from "../../src/index.ts"
import { parseRunConfig, providerOf } from "../../src/runconfig/RunConfigFile.ts"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import type { PickleValue } from "../../src/torch/PickleValue.ts"
import { PyOpaque } from "../../src/torch/PyValue.ts"
import { trainedCheckpoints, trainingCheckpoint, trainingNames } from "../conformance/training.ts"
import { importOf } from "../families/inMemory.ts"
import { type Toy, toys } from "../families/toys.ts"

const work = mkdtempSync(join(tmpdir(), "arguments-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

/** Models that Megatron-LM's arguments describe: one set of sizes for all layers, no towers. */
const LANGUAGE = /^(?:embedding|decoder|output_layer|mtp|hf_source)\./

const ofToy = (toy: Toy, more: Readonly<Record<string, PickleValue>> = {}) => {
  const { checkpoint: { metadata }, runConfig } = planOf(toy)
  const tensors = [...metadata.tensors].map(([name, { shape }]) => ({ name, shape }))
  const section = providerOf(parseRunConfig(Buffer.from(runConfig)))!
  const rows = metadata.tensors.get("embedding.word_embeddings.weight")?.shape[0]
  const read = readArguments(new PyOpaque(argumentsOfProvider(section, new Map(Object.entries({ padded_vocab_size: rows ?? null, ...more })))))!
  return { args: read, tensors }
}

/** Layers that differ in their sizes, and gates of other activations, which no argument says. */
const BEYOND = /^(?:gemma|gpt-oss|llama-nemotron|mimo-v2-flash|deepseek-v4|step-3\.5-mtp)/

const plans = new Map<string, ReturnType<typeof importOf>>()
/** A toy is planned once. */
const planOf = (toy: Toy) => {
  let plan = plans.get(toy.name)
  if (!plan) plans.set(toy.name, plan = importOf(toy))
  return plan
}

const ofLanguage = toys.filter((toy) => !BEYOND.test(toy.name) && [...planOf(toy).checkpoint.metadata.tensors.keys()].every((name) => LANGUAGE.test(name)))

const texts = (args: TrainingArguments, tensors: Parameters<typeof examineArguments>[1]): ReadonlyArray<string> => examineArguments(args, tensors).map(({ text }) => text)

describe("arguments that fit", () => {
  it("are those of every model whose provider they come from", () => {
    expect(ofLanguage.length).toBeGreaterThan(60)
    for (const toy of ofLanguage) {
      const { args, tensors } = ofToy(toy)
      expect([toy.name, texts(args, tensors)]).toEqual([toy.name, []])
    }
  })

  it.each([...trainingNames.map((name) => [name, trainingCheckpoint(name)] as const), ...trainedCheckpoints])("are those of %s, as trained", async (_, path) => {
    const { found } = await examineCheckpoint(path)
    expect(found.filter(({ code, severity }) => code.startsWith("arguments") || severity === "error").map(({ text }) => text)).toEqual([])
  })
})

describe("arguments that do not fit", () => {
  const cases: ReadonlyArray<readonly [toy: string, argument: string, value: PickleValue, named: RegExp]> = [
    ["llama-import-float32-a", "hidden_size", 48, /hidden_size makes 48, embedding\.word_embeddings\.weight is \[/],
    ["llama-import-float32-a", "num_layers", 7, /num_layers says 7, \d+ are stored/],
    ["llama-import-float32-a", "ffn_hidden_size", 20, /ffn_hidden_size, twice for the gate makes 40, decoder\.layers\.mlp\.linear_fc1\.weight/],
    ["llama-import-float32-a", "swiglu", false, /ffn_hidden_size makes \d+, decoder\.layers\.mlp\.linear_fc1\.weight/],
    ["llama-import-float32-a", "num_attention_heads", 1, /num_attention_heads × kv_channels makes \d+, decoder\.layers\.self_attention\.linear_proj/],
    ["llama-import-float32-a", "padded_vocab_size", 32000, /padded_vocab_size makes 32000/],
    ["llama-import-float32-a", "untie_embeddings_and_output_weights", false, /untie_embeddings_and_output_weights speaks against output_layer\.weight/],
    ["llama-tied-a", "untie_embeddings_and_output_weights", true, /untie_embeddings_and_output_weights asks for a tensor/],
    ["llama-import-float32-a", "add_bias_linear", true, /add_bias_linear asks for a tensor that is not stored beside decoder\.layers\.self_attention\.linear_proj\.weight/],
    ["llama-import-float32-a", "qk_layernorm", true, /qk_layernorm asks/],
    ["qwen2-a", "add_qkv_bias", false, /add_qkv_bias, add_bias_linear speaks against decoder\.layers\.self_attention\.linear_qkv\.bias/],
    ["qwen3-moe-a", "num_experts", 2, /num_experts says 2, \d+ are stored/],
    ["qwen3-moe-a", "num_experts", null, /num_experts speaks against decoder\.layers\.mlp\.router\.weight/],
    ["qwen3-moe-a", "moe_ffn_hidden_size", 8, /moe_ffn_hidden_size/],
    ["deepseek-v3-nomtp-a", "kv_lora_rank", 5, /kv_lora_rank \+ qk_pos_emb_head_dim makes/],
    ["glm-4.5-a", "mtp_num_layers", null, /mtp_num_layers speaks against mtp\./]
  ]
  it.each(cases)("%s with %s %s", (name, argument, value, named) => {
    const toy = toys.find((t) => t.name === name)!
    const { args, tensors } = ofToy(toy, { [argument]: value })
    expect(texts(args, tensors).join("\n")).toMatch(named)
  })

  it("a vocabulary that its padding does not make", () => {
    const args = new TrainingArguments(new Map(Object.entries({ num_layers: 1, hidden_size: 4, num_attention_heads: 1, vocab_size: 130, make_vocab_size_divisible_by: 64, tensor_model_parallel_size: 2, untie_embeddings_and_output_weights: false, position_embedding_type: "rope" })))
    const tensors = [{ name: "embedding.word_embeddings.weight", shape: [192, 4] }, { name: "decoder.layers.0.mlp.linear_fc2.weight", shape: [4, 16] }]
    expect(texts(args, tensors).join()).toContain("padded to a multiple of make_vocab_size_divisible_by × tensor_model_parallel_size, makes 256, embedding.word_embeddings.weight is [192, 4]")
    const same = [{ name: "embedding.word_embeddings.weight", shape: [256, 4] }]
    expect(texts(args, [...same, ...tensors.slice(1)]).join()).not.toContain("vocab")
  })

  it("are found in a folder, with what describes the model for Megatron-Bridge", async () => {
    const copy = join(work, "copy")
    cpSync(trainingCheckpoint("lm-weights-only-tp2"), copy, { recursive: true })
    const path = join(copy, "iter_0000003", ".metadata")
    const { tensors, ...metadata } = decodeMetadata(readFileSync(path))
    writeFileSync(path, encodeMetadata({ ...metadata, tensors: new Map([...tensors].filter(([key]) => key !== "output_layer.weight")) }))
    const { found, sound } = await examineCheckpoint(copy)
    expect(sound).toBe(false)
    expect(found.find(({ code }) => code === "arguments-mismatch")).toMatchObject({ severity: "error", names: ["embedding.word_embeddings.weight"], text: expect.stringContaining("untie_embeddings_and_output_weights asks for a tensor") })
    expect(found.find(({ code }) => code === "no-run-config")).toMatchObject({ command: expect.stringMatching(/relabel .* --to bridge --link$/) })
  })
})
