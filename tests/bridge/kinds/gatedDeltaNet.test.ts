/** Input projections of a Gated DeltaNet, grouped by key head in the file and by role in Megatron. */
import { expect, it } from "vitest"
import { gatedDeltaNetByHead } from "../../../src/bridge/kinds/gatedDeltaNet.ts"
import { gatedDeltaNet } from "../../../src/model/modules.ts"
import type { Parameter } from "../../../src/model/Parameter.ts"
import { Scope } from "../../../src/model/Scope.ts"
import { coverage } from "../../../src/tensor/Coverage.ts"

/** Two key heads of width 1, four value heads of width 1, hidden size 1: every row is one number. */
const parameter = Scope.collect((s) =>
  gatedDeltaNet(s, {
    num_layers: 1, hidden_size: 1, num_attention_heads: 1, num_query_groups: 1, kv_channels: 1, ffn_hidden_size: 1, vocab_size: 1,
    normalization: "RMSNorm", gated_linear_unit: true, add_bias_linear: false, add_qkv_bias: false, qk_layernorm: false,
    share_embeddings_and_output_weights: true,
    linear_num_key_heads: 2, linear_num_value_heads: 4, linear_key_head_dim: 1, linear_value_head_dim: 1, linear_conv_kernel_dim: 1
  })).find((e): e is Parameter => e.kind === "parameter" && e.name === "in_proj.weight")!

it("per key head q, k, v v, z z; per key head b b, a a", () => {
  const { copies, tensors } = gatedDeltaNetByHead(2).relate(parameter, ["qkvz", "ba"], [])
  expect(tensors).toEqual([{ name: "qkvz", shape: [12, 1] }, { name: "ba", shape: [8, 1] }])
  const rows: Array<string> = []
  for (const { shape: [heads, perHead], source, target } of copies) {
    for (let g = 0; g < heads!; g++) {
      for (let i = 0; i < perHead!; i++) {
        const at = (v: typeof source) => v.offset + g * v.strides[0]! + i * v.strides[1]!
        rows[at(target)] = source.tensor + at(source)
      }
    }
  }
  expect(rows.join(" ")).toBe(
    "qkvz0 qkvz6 qkvz1 qkvz7 qkvz2 qkvz3 qkvz8 qkvz9 qkvz4 qkvz5 qkvz10 qkvz11 ba0 ba1 ba4 ba5 ba2 ba3 ba6 ba7"
  )
  expect(coverage([20, 1], copies.map((c) => ({ shape: c.shape, view: c.target, label: "" })))).toEqual({ kind: "exact" })
})
