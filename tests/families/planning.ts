/**
 * Plans the import or the export of 100 000 tensors (65 layers of 512 experts), in a process of its own whose heap the test bounds, and
 * prints how many of what came out.
 */
import { families } from "../../routes/index.ts"
import { planExport } from "../../src/plan/planExport.ts"
import { hfFiles } from "../../src/plan/HfFiles.ts"
import { planImport } from "../../src/plan/ImportPlan.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { asWritten, opened } from "./inMemory.ts"
import { tensorsOf } from "./tensorsOf.ts"
import { sourceOf } from "./toys.ts"

const config = {
  architectures: ["Qwen3MoeForCausalLM"], model_type: "qwen3_moe", hidden_size: 4096, num_attention_heads: 64, num_key_value_heads: 4,
  head_dim: 128, vocab_size: 151936, rms_norm_eps: 1e-6, num_hidden_layers: 65, intermediate_size: 12288, moe_intermediate_size: 1536,
  num_experts: 512, num_experts_per_tok: 8, tie_word_embeddings: false, dtype: "bfloat16"
}
const tensors = tensorsOf(config)
const source = sourceOf({ architecture: "Qwen3MoeForCausalLM", configText: JSON.stringify(config) }, tensors)
const options = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const
const imported = planImport(families.find(config), source, { ...options, form: "standard", layout: () => standardLayout({ tp: 2, ep: 8 }), step: 0 })

const exported = () => {
  const checkpoint = opened(imported)
  const metadata = decodeMetadata(encodeMetadata(checkpoint.metadata))
  const plan = asWritten(planExport({ family: families.find(config), config: source, weights: source.weights, checkpoint }, options))
  // Copies are cut when asked for: here those of every tensor.
  const copies = hfFiles(plan, source.weights).files.flatMap((f) => f.segments)
    .reduce((sum, s) => sum + (s.kind === "array" ? s.array.copies().length : 0), 0)
  return { objects: metadata.objects.size, lost: checkpoint.metadata.objects.size - metadata.objects.size, targetTensors: plan.report.targetTensors, copies }
}

console.log(JSON.stringify({
  tensors: tensors.length,
  sourceTensors: imported.report.sourceTensors,
  ...(process.argv[2] === "export" ? exported() : {})
}))
