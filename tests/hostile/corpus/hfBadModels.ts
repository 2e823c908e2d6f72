/** Sound files that together are no model: tensors that are missing, left over, or of a form that no weight has. */
import type { BadCase, Command } from "./Case.ts"
import { filesOf, type Hf, sharded, single, withTensor, withTensors } from "./Hf.ts"
import { type Architecture, architectures, dataOf, type ToyTensor } from "./Toy.ts"

/** An export takes names, shapes and order from the weights of `--hf-model`, but no values: their dtypes do not matter to it. */
const IMPORT: ReadonlyArray<Command> = ["import"]
const BOTH: ReadonlyArray<Command> = ["import", "export"]
const NORM = "model.norm.weight"
const O_BIAS = "model.layers.1.self_attn.o_proj.bias"
const DOWN = "model.layers.1.mlp.down_proj.weight"
const Q = "model.layers.0.self_attn.q_proj.weight"

const zeros = (name: string, dtype: string, shape: ReadonlyArray<number>, bytes: number): ToyTensor => ({ name, dtype, shape, data: Buffer.alloc(bytes) })
const reshaped = (shape: ReadonlyArray<number>) => (t: ToyTensor): ToyTensor => ({ ...t, shape, data: dataOf(t.name, "BF16", shape) })
const retyped = (dtype: string, width: number) => (t: ToyTensor): ToyTensor => ({ ...t, dtype, data: Buffer.alloc(t.shape.reduce((a, b) => a * b, 1) * width) })
const without = (hf: Hf, ...names: ReadonlyArray<string>): Hf => hf.shards.reduce((all, _, i) => withTensors(all, (tensors) => tensors.filter((t) => !names.includes(t.name)), i), hf)
const beside = (hf: Hf, ...more: ReadonlyArray<ToyTensor>): Hf => withTensors(hf, (tensors) => [...tensors, ...more])

type Make = (architecture: Architecture) => Hf
const model = (id: string, make: Make, ...says: ReadonlyArray<string>) => ({ id, make, says, commands: BOTH })
const weights = (id: string, make: Make, ...says: ReadonlyArray<string>) => ({ id, make, says, commands: IMPORT })

const cases = [
  model("missing-norm", (a) => without(single(a), NORM), NORM, "missing"),
  model("missing-head", (a) => without(single(a), "lm_head.weight"), "lm_head.weight", "missing"),
  model("missing-embedding", (a) => without(single(a), "model.embed_tokens.weight"), "model.embed_tokens.weight"),
  model("missing-one-of-qkv", (a) => without(single(a), Q), Q),
  model("missing-layer", (a) => withTensors(single(a), (ts) => ts.filter((t) => !t.name.includes("layers.1."))), "model.layers.1."),
  model("missing-in-a-shard", (a) => without(sharded(a), DOWN), DOWN),
  model("no-tensors", (a) => withTensors(single(a), () => []), "missing"),
  model("unknown-tensor", (a) => beside(single(a), zeros("model.layers.0.mlp.fc3.weight", "BF16", [4], 8)), "model.layers.0.mlp.fc3.weight"),
  model("third-layer", (a) => beside(single(a), zeros("model.layers.2.mlp.down_proj.weight", "BF16", [16, 24], 768)), "model.layers.2.mlp.down_proj.weight"),
  model("prototype-name", (a) => beside(single(a), zeros("__proto__", "BF16", [4], 8)), "__proto__"),
  model("name-with-control-characters", (a) => beside(single(a), zeros("\u001b[2Jx\u202e", "BF16", [4], 8)), "\\u001b[2Jx\\u202e"),
  model("very-long-name", (a) => beside(single(a), zeros("n".repeat(40_000), "BF16", [4], 8)), "nnn… (40000 characters)"),
  model("prefix-twice", (a) => withTensors(single(a), (ts) => ts.map((t) => ({ ...t, name: `model.${t.name}` }))), "missing"),
  model("unexpected-bias", (a) => beside(single(a), zeros("model.layers.0.mlp.down_proj.bias", "BF16", [16], 32)), "model.layers.0.mlp.down_proj.bias"),
  model("transposed", (a) => withTensor(single(a), DOWN, reshaped([24, 16])), DOWN, "[24,16]", "[16,24]"),
  model("flattened", (a) => withTensor(single(a), DOWN, reshaped([384])), DOWN, "[384]"),
  model("extra-axis", (a) => withTensor(single(a), NORM, reshaped([1, 16])), NORM, "[1,16]"),
  model("one-row-less", (a) => withTensor(single(a), "lm_head.weight", reshaped([19, 16])), "lm_head.weight", "[19,16]"),
  model("one-row-more", (a) => withTensor(single(a), "model.embed_tokens.weight", reshaped([21, 16])), "model.embed_tokens.weight", "[21,16]"),
  model("tied-head-of-another-shape", (a) => beside(single(a, { tie_word_embeddings: true }), zeros("lm_head.weight", "BF16", [19, 16], 608)), "lm_head.weight", "[19,16]"),
  model("output-bias-missing", () => without(single("llama", { attention_bias: true }), O_BIAS), O_BIAS),
  model("empty-weight", (a) => withTensor(single(a), NORM, reshaped([0])), NORM, "[0]"),
  model("scalar-weight", (a) => withTensor(single(a), NORM, reshaped([])), NORM, "[]"),
  weights("integer-layer-among-floats", (a) => withTensor(single(a), DOWN, retyped("I32", 4)), DOWN, "I32"),
  weights("all-integers", (a) => withTensors(single(a), (ts) => ts.map(retyped("I32", 4))), "I32"),
  weights("norm-of-integers", (a) => withTensor(single(a), NORM, retyped("I64", 8)), NORM, "I64"),
  weights("boolean-weight", (a) => withTensor(single(a), DOWN, retyped("BOOL", 1)), DOWN, "BOOL"),
  weights("complex-weight", (a) => withTensor(single(a), DOWN, retyped("C64", 8)), DOWN, "C64"),
  weights("four-bit-weight", (a) => withTensor(single(a), DOWN, retyped("F4", 0.5)), DOWN, "F4"),
  weights("six-bit-weight", (a) => withTensor(single(a), DOWN, retyped("F6_E2M3", 0.75)), DOWN, "F6_E2M3"),
  weights("four-bit-left-over", (a) => beside(single(a), zeros("x.weight", "F4", [4], 2)), "x.weight"),
  weights("all-four-bit", (a) => withTensors(single(a), (ts) => ts.map(retyped("F4", 0.5))), "F4"),
  weights("norm-of-four-bits", (a) => withTensor(single(a), NORM, retyped("F4", 0.5)), NORM, "F4"),
  weights("fp8-without-scales", (a) => withTensor(single(a), DOWN, retyped("F8_E4M3", 1)), DOWN, "scale"),
  weights("fp8-exponents", (a) => withTensor(single(a), DOWN, retyped("F8_E8M0", 1)), DOWN, "F8_E8M0"),
  weights("stray-scales", (a) => beside(single(a), zeros(`${DOWN}_scale_inv`, "F32", [1, 1], 4)), `${DOWN}_scale_inv`),
  weights("scales-of-wrong-shape", (a) => beside(withTensor(single(a), DOWN, retyped("F8_E4M3", 1)), zeros(`${DOWN}_scale_inv`, "F32", [3, 7], 84)), `${DOWN}_scale_inv`, "[3,7]"),
  weights("scales-of-wrong-dtype", (a) => beside(withTensor(single(a), DOWN, retyped("F8_E4M3", 1)), zeros(`${DOWN}_scale_inv`, "I64", [1, 1], 8)), `${DOWN}_scale_inv`, "I64")
]

export const hfBadModels: ReadonlyArray<BadCase> = cases.map(({ commands, id, make, says }, i) => ({
  id: `model/${id}`,
  files: () => filesOf(make(architectures[i % 3]!)),
  architecture: architectures[i % 3]!,
  commands,
  says
}))
