/** Planning reads headers only, and a model of 100 000 tensors is planned in seconds and a few hundred MB. The bounds allow for a busy machine. */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { planExport } from "../../src/convert/ExportPlan.ts"
import { hfFiles } from "../../src/convert/HfFiles.ts"
import { planImport } from "../../src/convert/ImportPlan.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { opened } from "./inMemory.ts"
import { sourceOf, tensorsOf } from "./toys.ts"

const config = {
  architectures: ["Qwen3MoeForCausalLM"], model_type: "qwen3_moe", hidden_size: 4096, num_attention_heads: 64, num_key_value_heads: 4,
  head_dim: 128, vocab_size: 151936, rms_norm_eps: 1e-6, num_hidden_layers: 65, intermediate_size: 12288, moe_intermediate_size: 1536,
  num_experts: 512, num_experts_per_tok: 8, tie_word_embeddings: false, dtype: "bfloat16"
}
const tensors = tensorsOf(config)
const source = sourceOf({ architecture: "Qwen3MoeForCausalLM", configText: JSON.stringify(config) }, tensors)
const options = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

/** What a step gives; it must end within 20 seconds and 500 MB of objects, garbage included. */
const bounded = <A>(step: () => A): A => {
  const heap = process.memoryUsage().heapUsed
  const start = performance.now()
  const result = step()
  expect(performance.now() - start).toBeLessThan(20_000)
  expect(process.memoryUsage().heapUsed - heap).toBeLessThan(500e6)
  return result
}

const imported = () => planImport(families.find(config), source, { ...options, form: "standard", layout: () => standardLayout({ tp: 2, ep: 8 }), step: 0 })

it("the import of 100 000 tensors of 65 layers of 512 experts", () => {
  expect(tensors.length).toBeGreaterThan(100_000)
  expect(bounded(imported).report.sourceTensors).toBe(tensors.length)
}, 60_000)

it("their export: the index of the checkpoint, the plan, the files", () => {
  const checkpoint = opened(imported())
  const bytes = encodeMetadata(checkpoint.metadata)
  expect(bounded(() => decodeMetadata(bytes)).objects.size).toBe(checkpoint.metadata.objects.size)
  const plan = bounded(() => planExport(families.find(config), source, source.tensors, checkpoint, options))
  expect(plan.report.targetTensors).toBe(tensors.length)
  const { files } = bounded(() => hfFiles(plan, source.tensors))
  // Copies are cut when asked for: here those of every tensor.
  const copies = bounded(() => files.flatMap((f) => f.segments).reduce((sum, s) => sum + (s.kind === "array" ? s.array.copies.length : 0), 0))
  expect(copies).toBeGreaterThanOrEqual(tensors.length)
}, 120_000)
