/**
 * What becomes of public bug reports that were rebuilt small. A case that is not in this table is run as an import (or an export,
 * if it holds a Megatron checkpoint) that must give every tensor back.
 */

/** `exact`: every tensor comes back, byte for byte. `refused`: a typed error whose text has all of these words. */
export type Outcome =
  | { readonly exact: true; readonly says?: ReadonlyArray<RegExp> }
  | { readonly refused: ReadonlyArray<RegExp> }
  /** It goes through; the tensors are not the source's, and this says why. `tied`: the head is the embedding. */
  | { readonly other: ReadonlyArray<RegExp>; readonly tied?: boolean }

export interface Expected {
  /** Options of the import. */
  readonly import?: ReadonlyArray<string>
  /** Where in the case the model is. */
  readonly model?: string
  /** Where in the case the Megatron checkpoint is. */
  readonly megatron?: string
  /** A relabel that the refusal of the export names, after which the export is exact. */
  readonly relabel?: string
  readonly outcome: Outcome
  /** What doctor says, and what it must not. */
  readonly doctor?: { readonly says: ReadonlyArray<RegExp>; readonly never?: ReadonlyArray<RegExp> }
}

const refused = (...words: ReadonlyArray<RegExp>): Outcome => ({ refused: words })
const exact = (...says: ReadonlyArray<RegExp>): Outcome => ({ exact: true, says })

const DOWNLOAD = /random values/
const FINE = /nothing is wrong/i

export const expected: Readonly<Record<string, Expected>> = {
  "adapter-dir": { outcome: refused(/adapter/i, /merge/i), doctor: { says: [/adapter/i], never: [FINE] } },
  "adapters-beside-base": { outcome: refused(/adapter/i) },
  "base-model-no-prefix": { outcome: refused(/embed_tokens/, /base model|AutoModel|without/i), doctor: { says: [/embed_tokens|prefix/], never: [FINE, DOWNLOAD] } },
  "bin-only": { outcome: refused(/\.bin/, /safetensors/), doctor: { says: [/\.bin/], never: [FINE] } },
  "deepseek-nextn-absent": { outcome: exact(/multi-token/) },
  "empty-dtype-entry": { outcome: refused(/\.safetensors/, /lm_head\.weight/), doctor: { says: [/lm_head\.weight/], never: [FINE] } },
  "fewer-layers-indexed": { outcome: refused(/decoder\.layers\.[23]\./) },
  "ffn-not-divisible": { import: ["--tp", "2"], outcome: refused(/97/, /2/) },
  "fp8-without-config": { outcome: { other: [/FP8 E4M3/, /written as values/] } },
  "fsdp-dtensor": { outcome: exact(/fsdp_dtensor/), doctor: { says: [/fsdp_dtensor/] } },
  "gguf-only": { outcome: refused(/GGUF/i), doctor: { says: [/GGUF/i], never: [FINE] } },
  gptq: { outcome: refused(/gptq/i), doctor: { says: [/gptq/i], never: [FINE] } },
  "grouped-mlp-legacy": { outcome: refused(/experts/, /GroupedMLP|legacy/i) },
  "hf-cache-links": { model: "models--o--m/snapshots/abc123", outcome: exact() },
  "index-nested-path": { outcome: refused(/weights\/|\.\//) },
  "kv-3-tp-2": { import: ["--tp", "2"], outcome: refused(/\b3\b/, /\b2\b/, /quer|key|group/i) },
  "legacy-mp-rank": { outcome: exact(/mp_rank/) },
  "llama-attention-bias-only": { outcome: exact(/bias/) },
  "lora-only": { outcome: refused(/adapter/i), doctor: { says: [/adapter/i], never: [FINE] } },
  "mixed-case-arch-missing": { outcome: refused(/architectures/), doctor: { says: [/architectures/], never: [FINE, /missing or unreadable/] } },
  "nemo2-layout": { megatron: "mcore", outcome: exact() },
  "no-index-two-shards": { outcome: refused(/index/), doctor: { says: [/index/], never: [FINE, DOWNLOAD] } },
  "old-llama-inv-freq": { outcome: exact(/inv_freq/) },
  "overlay-index": { outcome: exact(/overlay|listed|index/), doctor: { says: [], never: [DOWNLOAD] } },
  "peft-prefix": { outcome: refused(/base_model\.model\./, /PEFT/i), doctor: { says: [/base_model\.model\./], never: [FINE, DOWNLOAD] } },
  "qwen3-moe-missing-expert": { outcome: refused(/experts\.\d+\.up_proj/), doctor: { says: [/experts\.\d+\.up_proj/], never: [FINE] } },
  "qwen35-text-vl-prefix": { outcome: refused(/model\.language_model\./), doctor: { says: [/model\.language_model\./], never: [FINE] } },
  "sequence-classification": { outcome: refused(/SequenceClassification/) },
  "sequential-experts": { outcome: refused(/sequential|local_experts/i, /relabel/), relabel: "grouped" },
  "sequential-singleton": { outcome: refused(/relabel/, /grouped/), relabel: "grouped" },
  "stale-index": { outcome: refused(/model-0000\d-of-0000\d/, /hold|other|stale/i), doctor: { says: [/index/], never: [FINE] } },
  "stray-whole-file": { outcome: refused(/model\.safetensors/, /index/), doctor: { says: [/model\.safetensors/], never: [FINE] } },
  "tf5-mistral3-tied-top": { model: "Mistral3ForConditionalGeneration", outcome: exact() },
  "tied-head-stored-after-training": { outcome: { other: [/lm_head\.weight/], tied: true } },
  "tied-in-megatron-untied-config": { outcome: refused(/output_layer/, /tie_word_embeddings/) },
  "tied-stored-head-differs": { outcome: exact(/lm_head\.weight/) },
  "untied-no-head": { outcome: refused(/lm_head\.weight/, /tie_word_embeddings/), doctor: { says: [/lm_head\.weight/], never: [FINE] } },
  "verl-dist-ckpt": { model: "actor/huggingface", megatron: "actor/dist_ckpt", outcome: exact() },
  "verl-model-prefix": { outcome: exact() },
  "vocab-250-tp4": { import: ["--tp", "4"], outcome: exact(/250/, /pad/i) },
  "vocab-grown-in-training": { outcome: refused(/300/, /256/) },
  "vocab-resized": { outcome: refused(/258/, /256/), doctor: { says: [/258/, /256/], never: [FINE] } },
  "vocab-smaller-than-config": { outcome: refused(/200/, /256/) },
  "wrong-size-config": { outcome: refused(/80|hidden_size/) }
}
