/**
 * What is held of every checkpoint that a trainer wrote: one row for a folder, one column for a check. A check that cannot be made says why; the rest
 * is run by the test that the column names.
 */

/** Why a check cannot be made of a folder. */
export interface Hole {
  readonly because: string
}

export interface TrainingRow {
  /** tests/conformance/trainingTable.test.ts: written without a model, or with this config.json beside the checkpoint; then equal to it, tensor by tensor. */
  readonly exported: "described" | { readonly config: Readonly<Record<string, unknown>> }
  /** tests/interop/trained.py (transformers), tests/interop/trainedLogits.ts (our forward pass). */
  readonly logits: "interop" | Hole
  /** tests/reshard/everyFolder.test.ts: as it is stored, or as `relabel --to torch-dist` writes it. */
  readonly thereAndBack: "stored" | "joined"
  /** The same, in every layout: hashes that were recorded, of what is stored or of what it must become. */
  readonly globalTensors: "facts" | Hole
}

const NO_LOGITS: Hole = { because: "no logits.npy: it was saved on a CPU, and its model was never run; its weights are held to recorded hashes" }
const NO_FACTS: Hole = { because: "no facts.json: its weights are held to those that it stores, in every layout, and its logits to those of the GPU" }

const ofCore: TrainingRow = { exported: "described", logits: NO_LOGITS, thereAndBack: "stored", globalTensors: "facts" }
const ofRanks: TrainingRow = { ...ofCore, thereAndBack: "joined" }
const ofGpus: TrainingRow = { exported: "described", logits: "interop", thereAndBack: "stored", globalTensors: NO_FACTS }

const llama = { model_type: "llama", hidden_size: 16, num_attention_heads: 4, num_key_value_heads: 2, vocab_size: 40 }
/** The tower has one layer more than is stored: its features are those of the last but one. */
const llava = (layers: number): TrainingRow => ({
  ...ofCore,
  exported: {
    config: {
      architectures: ["LlavaForConditionalGeneration"], model_type: "llava", dtype: "bfloat16", image_token_index: 39,
      text_config: { ...llama, intermediate_size: 20, num_hidden_layers: layers },
      vision_config: { hidden_size: 8, intermediate_size: 16, num_attention_heads: 2, num_hidden_layers: layers + 1, image_size: 8, patch_size: 4 }
    }
  }
})

export const trainingTable: Readonly<Record<string, TrainingRow>> = {
  // Its core stored no arguments.
  "core014-model-space-dp2": { ...ofCore, exported: { config: { ...llama, architectures: ["LlamaForCausalLM"], intermediate_size: 28, num_hidden_layers: 3, head_dim: 4, max_position_embeddings: 32, rms_norm_eps: 1e-5, tie_word_embeddings: false, torch_dtype: "bfloat16", hidden_act: "silu", rope_theta: 10000 } } },
  "legacy-distributed-optimizer-dp2": ofRanks,
  "legacy-ep2": ofRanks,
  "legacy-tp2pp2": ofRanks,
  "lm-dp-reshardable-dp2": ofCore,
  "lm-fp32": ofCore,
  "lm-fully-reshardable-dp2": ofCore,
  "lm-fully-reshardable-tp2pp2": ofCore,
  "lm-mixed-precision-tp2": ofCore,
  "lm-moe-dp-reshardable-ep2": ofCore,
  "lm-moe-fully-reshardable-ep2": ofCore,
  "lm-weights-only-tp2": ofCore,
  "mimo-fully-reshardable": llava(1),
  "mimo-no-ddp-weights": llava(2),
  "moe-ep2-localspec": ofGpus,
  "tied-pp2": ofGpus,
  "tp2-distopt": ofGpus
}
