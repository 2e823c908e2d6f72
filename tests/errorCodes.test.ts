/** Codes that no other test spells: each is provoked in this process, by the smallest input that has it. */
import { describe, expect, it } from "vitest"
import { families } from "../routes/index.ts"
import { bind, checkCoverage } from "../src/bridge/Conversion.ts"
import { standardModules, validateRouteTable } from "../src/mimo/routes.ts"
import { CHECKSUMS } from "../src/publish/integrity/names.ts"
import { decodeChecksums } from "../src/publish/integrity/Checksums.ts"
import { draftOf, moveKeys } from "../src/relabel/Draft.ts"
import { toExtraStates } from "../src/relabel/rules/extraStates.ts"
import { RunConfigEdit } from "../src/runconfig/RunConfigEdit.ts"
import { encodeHeader } from "../src/safetensors/encodeHeader.ts"
import { parseHeader } from "../src/safetensors/Header.ts"
import { checkIndex, parseIndex } from "../src/safetensors/ShardIndex.ts"
import { noHeaders } from "../src/space/HfSource.ts"
import { copiesFrom } from "../src/space/TensorSpace.ts"
import { identity } from "../src/tensor/Copy.ts"
import { importOf } from "./families/inMemory.ts"
import { type Toy, toys } from "./families/toys.ts"
import { file } from "./safetensors/literal.ts"

type Config = Record<string, unknown>

const toyNamed = (name: string): Toy => toys.find((toy) => toy.name === name)!

/** An import of a toy with another config, or of further tensors. */
const importing = (name: string, change: (config: Config) => void, more: ReadonlyArray<string> = []) => () => {
  const toy = toyNamed(name)
  const config = structuredClone(toy.config) as Config
  change(config)
  const tensors = [...toy.tensors, ...more.map((tensor) => ({ name: tensor, dtype: "BF16" as const, shape: [4, 4], file: toy.tensors[0]!.file }))]
  return importOf({ ...toy, config, configText: JSON.stringify(config) }, "standard", tensors)
}
const inside = (config: Config, section: string): Config => config[section] as Config
const same = (): void => {}

const llama = () => {
  const { config } = toyNamed("llama-biased-a")
  return bind(standardModules(families.find(config).describe(config, noHeaders)))
}

const header = (json: string, data = 0) => () => parseHeader(file(json, data))
const index = (text: string | Uint8Array) => () => parseIndex(Buffer.from(text))
const inMap = (value: string) => index(`{"weight_map":{"a":${value}}}`)
const edit = (text: string, change: (edit: RunConfigEdit) => void) => () => change(new RunConfigEdit(Buffer.from(text)))
const entry = (more: string) => `{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]${more}}}`
const shard = (names: ReadonlyArray<string>) => ({ file: "m.safetensors", tensors: names.map((name) => ({ name })) })

const provoked: ReadonlyArray<readonly [code: string, provoke: () => unknown]> = [
  ["safetensors/header-non-finite", header(entry(`,"later":NaN`), 1)],
  ["safetensors/header-lone-surrogate", header(`{"\\ud800":{}}`)],
  ["safetensors/name-too-long", header(`{"${"x".repeat(70_000)}":{}}`)],
  ["safetensors/name-not-unicode", () => encodeHeader([{ name: "\ud800", dtype: "U8", shape: [1] }])],
  ["safetensors/name-taken", () => encodeHeader([1, 2].map(() => ({ name: "a", dtype: "U8" as const, shape: [1] })))],
  ["safetensors/index-control-character", inMap(`"\u0001"`)],
  ["safetensors/index-lone-surrogate", inMap(`"\\ud800"`)],
  ["safetensors/index-number-range", index(`{"metadata":{"total_size":1e999},"weight_map":{}}`)],
  ["safetensors/index-bom", index("\ufeff{}")],
  ["safetensors/index-weight-map", inMap("1")],
  ["safetensors/index-metadata", index(`{"metadata":1,"weight_map":{"a":"m.safetensors"}}`)],
  ["safetensors/index-unlisted-tensor", () => checkIndex({ weightMap: new Map([["a", "m.safetensors"]]), metadata: new Map() }, [shard(["a", "b"])])],
  ["safetensors/index-too-many-values", index(`{"metadata":{"x":[${"0,".repeat(1_210_001)}0]},"weight_map":{}}`)],
  ["safetensors/header-too-many-values", header(entry(`,"later":[${"0,".repeat(2_000_001)}0]`), 1)],
  ["unsupported/quantised", () =>
    copiesFrom(
      { name: "w", dtype: "BF16", shape: [1], place: { kind: "codes", form: "FP8", layout: undefined } } as unknown as Parameters<typeof copiesFrom>[0],
      { ...identity("w", "x", [1]), transform: { kind: "add", value: 1 } } as unknown as Parameters<typeof copiesFrom>[1]
    )],
  ["relabel/collision", () => moveKeys(draftOf(importOf(toyNamed("llama-biased-a")).checkpoint.metadata), ({ space }) => ({ key: "one", space }))],
  ["config/activation", importing("llama-biased-a", (c) => void (c["hidden_act"] = "cube"))],
  ["config/block", importing("llama-nemotron-a", (c) => void (c["block_configs"] as Array<unknown>).pop())],
  ["config/indexer", importing("glm-5-a", (c) => void (c["indexer_types"] = ["shared", "full", "full"]))],
  ["config/indivisible", importing("llama-biased-a", (c) => void Object.assign(c, { num_attention_heads: 4, num_key_value_heads: 3 }))],
  ["config/language-model", importing("internvl-qwen2", (c) => void (inside(c, "llm_config")["model_type"] = "x"))],
  ["config/vision-model", importing("llava-1.5", (c) => void (inside(c, "vision_config")["model_type"] = "x"))],
  ["config/layers", importing("exaone-moe-a", (c) => void (c["layer_types"] = ["full_attention"]))],
  ["config/missing", importing("deepseek-v4", (c) => void delete c["compress_ratios"])],
  ["config/mixed-experts", importing("qwen3-moe-a", same, ["model.layers.0.mlp.experts.gate_up_proj"])],
  ["config/mixed-names", importing("qwen2.5-vl-a", same, ["model.visual.blocks.0.norm1.weight", "visual.blocks.0.norm1.weight"])],
  ["config/mtp", importing("exaone-moe-mtp", (c) => void (c["num_nextn_predict_layers"] = 2))],
  ["config/no-architecture", importing("llama-biased-a", (c) => void delete c["architectures"])],
  ["config/no-experts", importing("qwen3-moe-a", (c) => void (delete c["num_experts"], delete c["num_local_experts"]))],
  ["config/not-plain", importing("qwen2.5-vl-a", (c) => void (inside(c, "vision_config")["hidden_act"] = "${oc.env:HOME}"))],
  ["config/not-an-object", () => families.find([])],
  ["config/too-many-parts", importing("llama-biased-a", (c) => void (c["num_hidden_layers"] = 100_000))],
  ["unsupported/architecture", () => families.find({ architectures: ["NoSuchModel"] })],
  ["unsupported/mimo", () => importOf(toyNamed("llama-biased-a"), "mimo")],
  ["unsupported/relabel", () => toExtraStates(draftOf(importOf(toyNamed("llama-biased-a")).checkpoint.metadata), { components: { components: [] }, runConfig: undefined })],
  ["plan/parameter-without-row", () => {
    const { config } = toyNamed("llama-biased-a")
    return bind(standardModules({ ...families.find(config).describe(config, noHeaders), rows: [] }))
  }],
  ["plan/coverage", () => {
    const bound = llama()
    return checkCoverage({ ...bound, parameters: bound.parameters.map((parameter) => ({ ...parameter, copies: parameter.copies.slice(1) })) })
  }],
  ["plan/contradicting-rows", () => {
    const { config } = toyNamed("llama-biased-a")
    const description = families.find(config).describe(config, noHeaders)
    const rows = description.rows.map((row) => (row.megatron === "decoder.final_layernorm.weight" ? { ...row, hf: ["model.embed_tokens.weight"] } : row))
    return bind(standardModules({ ...description, rows }))
  }],
  ["run-config/no-model", edit("train: 1\n", (e) => e.toStandard(0))],
  ["run-config/no-provider", edit("model:\n  num_layers: 2\n", (e) => e.toStandard(0))],
  ["run-config/layers", edit("model:\n  num_layers: 3\n", (e) => e.toGpt())],
  ["mimo/route-table", () => validateRouteTable([1, 2].map(() => ({ name: "language", sourcePrefix: "a.", targetModulePath: "b" })))],
  ["integrity/damaged", () => decodeChecksums(CHECKSUMS, Buffer.from(`{"crc32":"00000000","checksums":{}}\n`))]
]

const codeOf = (provoke: () => unknown): unknown => {
  try {
    provoke()
  } catch (error) {
    return typeof error === "object" && error !== null && "code" in error ? error.code : error
  }
  return "nothing was wrong"
}

describe("a code", () => {
  it.each(provoked)("%s", (code, provoke) => expect(codeOf(provoke)).toBe(code))
})
