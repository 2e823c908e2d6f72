/** Planning reads headers only, and a model of 100 000 tensors is planned in seconds and a few hundred MB. The bounds allow for a busy machine. */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { planImport } from "../../src/convert/ImportPlan.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { sourceOf, tensorsOf } from "./toys.ts"

const config = {
  architectures: ["Qwen3MoeForCausalLM"], model_type: "qwen3_moe", hidden_size: 4096, num_attention_heads: 64, num_key_value_heads: 4,
  head_dim: 128, vocab_size: 151936, rms_norm_eps: 1e-6, num_hidden_layers: 65, intermediate_size: 12288, moe_intermediate_size: 1536,
  num_experts: 512, num_experts_per_tok: 8, tie_word_embeddings: false, dtype: "bfloat16"
}

it("100 000 tensors of 65 layers of 512 experts", () => {
  const tensors = tensorsOf(config)
  expect(tensors.length).toBeGreaterThan(100_000)
  const source = sourceOf({ architecture: "Qwen3MoeForCausalLM", configText: JSON.stringify(config) }, tensors)
  const heap = process.memoryUsage().heapUsed
  const start = performance.now()
  const plan = planImport(families.find(config), source, {
    form: "standard", layout: () => standardLayout({ tp: 2, ep: 8 }), torchDtype: "source", mtp: "keep", allowUnmapped: [], step: 0
  })
  expect(performance.now() - start).toBeLessThan(20_000)
  expect(process.memoryUsage().heapUsed - heap).toBeLessThan(500e6)
  expect(plan.report.sourceTensors).toBe(tensors.length)
}, 60_000)
