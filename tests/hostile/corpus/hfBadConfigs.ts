/** Broken, lying and absurd config.json files, as `--hf-model` of an import and of an export. */
import type { BadCase, Command } from "./Case.ts"
import { directory, fifo, link, type Node } from "./FileSet.ts"
import { filesOf, type Json, single } from "./Hf.ts"
import { type Architecture, architectures, type Config, configOf } from "./Toy.ts"

const FILE = "config.json"
const COMMANDS: ReadonlyArray<Command> = ["import", "export"]

type Edit = (text: string) => string | Node

const config = (id: string, i: number, edit: Edit, ...says: ReadonlyArray<string>): BadCase => ({
  id: `config/${id}`,
  files: () => {
    const hf = single(architectures[i % 3]!)
    const changed = edit(JSON.stringify(hf.config, undefined, 2))
    return filesOf({ ...hf, configFile: typeof changed === "string" ? Buffer.from(changed) : changed })
  },
  commands: COMMANDS,
  says: [FILE, ...says]
})

const documents: Readonly<Record<string, readonly [Edit, ...says: ReadonlyArray<string>]>> = {
  "empty": [() => "", "byte 0"],
  "blank": [() => "  \n", "byte"],
  "not-json": [() => "LlamaForCausalLM", "byte 0"],
  "yaml": [(t) => t.replaceAll(/[{}",]/g, ""), "byte"],
  "cut": [(t) => t.slice(0, t.length / 2), "byte"],
  "trailing": [(t) => `${t}\n}`, "byte"],
  "two-documents": [(t) => `${t}\n${t}`, "byte"],
  "comment": [(t) => t.replace("{", "{ // toy"), "byte"],
  "trailing-comma": [(t) => t.replace(/\n\}$/, ",\n}"), "byte"],
  "single-quotes": [(t) => t.replaceAll("\"", "'"), "byte"],
  "byte-order-mark": [(t) => `\ufeff${t}`, "byte 0"],
  "utf16": [(t) => Buffer.from(`\ufeff${t}`, "utf16le"), "byte 0"],
  "invalid-utf8": [(t) => Buffer.from(t.replace("silu", "sil\xff"), "latin1"), "UTF-8", "byte"],
  "nul": [(t) => `${t}\0`, "byte"],
  "duplicate-key": [(t) => t.replace("\"vocab_size\"", "\"vocab_size\": 21,\n  \"vocab_size\""), "vocab_size", "twice"],
  "duplicate-nested": [(t) => t.replace("{", "{\"rope_scaling\": {\"factor\": 1, \"factor\": 2},"), "factor", "twice"],
  "prototype-key": [(t) => t.replace("{", "{\"__proto__\": {\"vocab_size\": 1},"), "__proto__"],
  "deep-list": [(t) => t.replace("{", `{"x": ${"[".repeat(200_000)}${"]".repeat(200_000)},`), "deeper", "byte"],
  "deep-object": [(t) => t.replace("{", `{"x": ${"{\"a\":".repeat(200_000)}1${"}".repeat(200_000)},`), "deeper", "byte"],
  "many-values": [(t) => t.replace("{", `{"x": [${"0,".repeat(2_500_000)}0],`), "values", "byte"],
  "lone-surrogate": [(t) => t.replace("silu", "\\udc00"), "surrogate", "byte"],
  "array": [(t) => `[${t}]`, "architectures"],
  "null": [() => "null", "architectures"],
  "number": [() => "42", "architectures"],
  "string": [() => "\"LlamaForCausalLM\"", "architectures"],
  "git-lfs-pointer": [() => "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3209\n", "Git LFS", "byte 0"],
  "a-web-page": [() => "<!DOCTYPE html><html></html>", "HTML", "byte 0"],
  "too-large": [() => ({ kind: "sparse", head: Buffer.from("{}"), size: 20 << 20 }), String(20 << 20)],
  "a-directory": [() => directory, "not a regular file"],
  "a-fifo": [() => fifo, "not a regular file"],
  "a-link-out": [() => link("/etc/passwd"), "outside"],
  "a-dangling-link": [() => link("config.base.json"), "does not exist"]
}

/** Values of `architectures` that name no model that is known. */
const unknown: Readonly<Record<string, readonly [value: Json, ...says: ReadonlyArray<string>]>> = {
  "unknown": [["LlamaForCausalLN"], "LlamaForCausalLN", "LlamaForCausalLM"],
  "prototype": [["__proto__"], "__proto__"],
  "constructor-name": [["constructor"], "constructor"],
  "to-string": [["toString"], "toString"],
  "empty-string": [[""]],
  "very-long": [["A".repeat(1_000_000)], "AAA… (1000000 characters)"],
  "control-characters": [["\u001b[31mLlama\n"], "\\u001b[31mLlama\\u000a"],
  "empty-list": [[], "architectures"],
  "null": [null, "architectures"],
  "string": ["LlamaForCausalLM", "architectures"],
  "number": [[1], "architectures"],
  "nested": [[["LlamaForCausalLM"]], "architectures"],
  "object": [{ 0: "LlamaForCausalLM" }, "architectures"]
}

/** JSON text in place of the value of a size. */
const numbers: Readonly<Record<string, string>> = {
  "negative": "-16",
  "zero": "0",
  "fraction": "16.5",
  "string": "\"16\"",
  "null": "null",
  "boolean": "true",
  "list": "[16]",
  "object": "{}",
  "nan": "NaN",
  "infinity": "Infinity",
  "minus-infinity": "-Infinity",
  "two-to-53": "9007199254740992",
  "two-to-64": "18446744073709551616",
  "thousand-digits": "1".repeat(1000),
  "billion": "1000000000",
  "1e300": "1e300"
}

const SIZES = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size"]
/** These may be left out or null. */
const OPTIONAL: ReadonlySet<string> = new Set(["num_key_value_heads"])

const put = (field: string, value: string): Edit => (t) => t.replace(new RegExp(`"${field}": [^,\n]+`), `"${field}": ${value}`)
const left = (field: string): Edit => (t) => t.replace(new RegExp(`\n  "${field}": [^,\n]+,?`), "")

const sizes: ReadonlyArray<BadCase> = SIZES.flatMap((field, f) => [
  ...Object.entries(numbers)
    .filter(([id]) => !(id === "null" && OPTIONAL.has(field)))
    .map(([id, value], i) => config(`${field}/${id}`, f + i, put(field, value), field)),
  ...(OPTIONAL.has(field) ? [] : [config(`${field}/absent`, f, left(field), field)])
])

/** Each field possible by itself, all together not. */
const together: Readonly<Record<string, readonly [change: Config, Architecture, ...says: ReadonlyArray<string>]>> = {
  "heads-do-not-divide": [{ num_attention_heads: 3 }, "llama", "num_key_value_heads"],
  "groups-do-not-divide": [{ num_key_value_heads: 3 }, "qwen2", "num_key_value_heads"],
  "more-groups-than-heads": [{ num_key_value_heads: 8 }, "qwen3", "num_key_value_heads"],
  "head-width": [{ head_dim: 8 }, "llama", "q_proj", "[32,16]"],
  "head-width-huge": [{ head_dim: 2 ** 24 }, "qwen3", "q_proj"],
  "more-layers": [{ num_hidden_layers: 3 }, "qwen2", "model.layers.2"],
  "fewer-layers": [{ num_hidden_layers: 1 }, "qwen3", "model.layers.1"],
  "larger-vocabulary": [{ vocab_size: 24 }, "llama", "embed_tokens", "[24,16]"],
  "wider-mlp": [{ intermediate_size: 32 }, "qwen2", "mlp", "[32,16]"],
  "wider": [{ hidden_size: 32 }, "qwen3", "embed_tokens", "[20,32]"],
  "other-family": [{ architectures: ["Qwen3ForCausalLM"], head_dim: 4 }, "llama", "q_norm"],
  "biases-promised": [{ attention_bias: true }, "llama", "q_proj.bias"],
  "all-biases-promised": [{ attention_bias: true, mlp_bias: true }, "llama", "q_proj.bias"],
  "mlp-biases-promised": [{ mlp_bias: true }, "llama", "model.layers.1.mlp.down_proj.bias"],
  "smaller-vocabulary": [{ vocab_size: 19 }, "qwen3", "embed_tokens", "[19,16]"],
  "as-many-layers-as-fit": [{ num_hidden_layers: 100_000 }, "llama", "num_hidden_layers"],
  "everything-huge": [{ num_hidden_layers: 100_000, hidden_size: 2 ** 24, intermediate_size: 2 ** 24, vocab_size: 2 ** 24 }, "qwen3", "config.json"]
}

const types: Readonly<Record<string, readonly [change: Config, field: string]>> = {
  "tied-string": [{ tie_word_embeddings: "yes" }, "tie_word_embeddings"],
  "tied-number": [{ tie_word_embeddings: 1 }, "tie_word_embeddings"],
  "dtype-unknown": [{ torch_dtype: "bfloat17" }, "torch_dtype"],
  "dtype-number": [{ torch_dtype: 16 }, "torch_dtype"],
  "activation-number": [{ hidden_act: 7 }, "hidden_act"],
  "activation-unknown": [{ hidden_act: "__import__('os')" }, "hidden_act"],
  "theta-string": [{ rope_theta: "1e6" }, "rope_theta"],
  "rope-list": [{ rope_parameters: [1, 2] }, "rope_parameters"],
  "bias-string": [{ attention_bias: "false" }, "attention_bias"],
  "positions-negative": [{ max_position_embeddings: -1 }, "max_position_embeddings"],
  "theta-zero": [{ rope_theta: 0 }, "rope_theta"],
  "theta-negative": [{ rope_parameters: { rope_type: "default", rope_theta: -1 } }, "rope_parameters.rope_theta"],
  "epsilon-negative": [{ rms_norm_eps: -1e-6 }, "rms_norm_eps"],
  "quantization-string": [{ quantization_config: "fp8" }, "quantization_config"],
  "epsilon-string": [{ rms_norm_eps: "1e-6" }, "rms_norm_eps"],
  "head-dim-zero": [{ head_dim: 0 }, "head_dim"],
  "block-size-zero": [{ quantization_config: { quant_method: "fp8", weight_block_size: [0, 128] } }, "weight_block_size"],
  "block-size-one-number": [{ quantization_config: { quant_method: "fp8", weight_block_size: 128 } }, "weight_block_size"]
}

export const hfBadConfigs: ReadonlyArray<BadCase> = [
  ...Object.entries(documents).map(([id, [edit, ...says]], i) => config(id, i, edit, ...says)),
  { id: "config/absent", files: () => filesOf({ ...single("qwen3"), without: [FILE] }), commands: COMMANDS, says: [FILE, "does not exist"] },
  ...Object.entries(unknown).map(([id, [value, ...says]]): BadCase => ({
    id: `config/architectures/${id}`,
    files: () => filesOf({ ...single("llama"), config: configOf("llama", { architectures: value }) }),
    commands: COMMANDS,
    says: [FILE, ...says]
  })),
  ...sizes,
  ...Object.entries(together).map(([id, [change, architecture, ...says]]): BadCase => ({
    id: `config/together/${id}`,
    files: () => {
      const hf = single(architecture)
      return filesOf({ ...hf, config: { ...hf.config, ...change } })
    },
    // Fewer layers: an export says which stored tensors would be lost.
    commands: id === "fewer-layers" ? ["import"] : COMMANDS,
    architecture,
    says
  })),
  ...Object.entries(types).map(([id, [change, field]], i): BadCase => ({
    id: `config/type/${id}`,
    files: () => {
      const hf = single(architectures[i % 3]!)
      return filesOf({ ...hf, config: { ...hf.config, ...change } })
    },
    commands: COMMANDS,
    says: [FILE, field]
  }))
]
