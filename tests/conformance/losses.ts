/** What the reference system does not give back: by case, as the cases record it. That ours does is what running them shows. */
import type { ConformanceCase } from "../../src/conformance/Case.ts"

const patterns = (names: ReadonlyArray<string>): string => {
  const distinct = [...new Set(names.map((name) => name.replaceAll(/\d+/g, "*")))]
  return distinct.slice(0, 2).join(", ") + (distinct.length > 2 ? ", …" : "")
}

const group = (names: ReadonlyArray<string>, what: string): Array<string> => (names.length === 0 ? [] : [`${names.length} ${what}: ${patterns(names)}`])

/** Tensors that the reference loses or changes between import and export, in a line each; or that it does not get that far. */
export const lossesOf = ({ export: back, import: there, megatron }: ConformanceCase): ReadonlyArray<string> => {
  if (!there.ok) return ["the import fails"]
  if (!back?.ok) return ["the export fails"]
  const empty = [...megatron!.entries].flatMap(([key, entry]) => (entry.uninitialised ? [key] : []))
  return [
    ...group(back.missing, "missing"),
    ...group(back.different.map((d) => d.name), "changed"),
    ...group(empty, "entries left at random values")
  ]
}

const MTP = "15 missing: mtp.fc.weight, mtp.layers.*.input_layernorm.weight, …"
const MTP_PACKED = "19 missing: mtp.fc.weight, mtp.layers.*.input_layernorm.weight, …"
const NORM = "6 changed: model.language_model.layers.*.linear_attn.norm.weight"
const ISLANDS = "12 changed: model.language_model.layers.*.linear_attn.A_log, model.language_model.layers.*.linear_attn.norm.weight"

/** In every other case all tensors come back. */
export const LOSSES: Readonly<Record<string, ReadonlyArray<string>>> = {
  "deepseek-v2-a": ["the import fails"],
  "deepseek-v3-a": ["2 missing: model.layers.*.embed_tokens.weight, model.layers.*.shared_head.head.weight"],
  "deepseek-v3-fp8-a": ["70 missing: model.layers.*.mlp.down_proj.weight_scale_inv, model.layers.*.mlp.gate_proj.weight_scale_inv, …", "68 changed: model.layers.*.mlp.down_proj.weight, model.layers.*.mlp.gate_proj.weight, …"],
  "deepseek-v3-import-float32-a": ["2 missing: model.layers.*.embed_tokens.weight, model.layers.*.shared_head.head.weight", "94 changed: lm_head.weight, model.embed_tokens.weight, …"],
  "deepseek-v3-noqlora-a": ["the import fails"],
  "ernie-4.5-moe-a": ["the export fails"],
  "exaone-4-untied-a": ["the import fails"],
  "gemma3-vl-newnames-a": ["135 missing: model.language_model.embed_tokens.weight, model.language_model.layers.*.input_layernorm.weight, …", "67 entries left at random values: vision_tower.embeddings.patch_embedding.weight, vision_tower.embeddings.patch_embedding.bias, …"],
  "glm-4.5-a": ["2 missing: model.layers.*.embed_tokens.weight, model.layers.*.shared_head.head.weight"],
  "glm-4.5-packed-a": ["2 missing: model.layers.*.embed_tokens.weight, model.layers.*.shared_head.head.weight"],
  "glm-4.7-flash-a": ["2 changed: model.layers.*.embed_tokens.weight, model.layers.*.shared_head.head.weight"],
  "glm-5-a": ["the export fails"],
  "gpt-oss-mxfp4-a": ["8 missing: model.layers.*.mlp.experts.down_proj_blocks, model.layers.*.mlp.experts.down_proj_scales, …"],
  "gpt-oss-square-a": ["2 changed: model.layers.*.mlp.experts.gate_up_proj"],
  "llama-biased-a": ["the import fails"],
  "llama-f16src-a": ["38 changed: model.embed_tokens.weight, model.layers.*.input_layernorm.weight, …"],
  "llama-f32src-a": ["39 changed: lm_head.weight, model.embed_tokens.weight, …"],
  "llama-import-float16-a": ["39 changed: lm_head.weight, model.embed_tokens.weight, …"],
  "llama-import-float32-a": ["39 changed: lm_head.weight, model.embed_tokens.weight, …"],
  "llama-tied-with-head-a": ["1 changed: lm_head.weight"],
  "mimo-qwen3.5-token-classification-tp1-a": ["the import fails"],
  "mimo-qwen3.5-vl-islands-import-float16-a": [MTP, ISLANDS],
  "mimo-qwen3.5-vl-islands-import-float32-a": [MTP, ISLANDS],
  "mimo-qwen3.5-vl-islands-tp1-a": [MTP, ISLANDS],
  "mimo-qwen3.5-vl-moe-packed-ep2-a": [MTP_PACKED, NORM],
  "mimo-qwen3.5-vl-moe-packed-pp2-a": [MTP_PACKED, NORM],
  "mimo-qwen3.5-vl-moe-packed-tp1-a": [MTP_PACKED, NORM],
  "mimo-qwen3.5-vl-moe-packed-tp2-a": [MTP_PACKED, NORM],
  "mimo-qwen3.5-vl-moe-perexpert-tp1-a": ["29 missing: mtp.fc.weight, mtp.layers.*.input_layernorm.weight, …", NORM],
  "mimo-qwen3.5-vl-nomtp-tp1-a": [NORM],
  "mimo-qwen3.5-vl-tied-pp2-a": ["the import fails"],
  "mimo-qwen3.5-vl-tied-tp1-a": [MTP, NORM],
  "mimo-qwen3.5-vl-tied-tp2-a": [MTP, NORM],
  "mimo-qwen3.5-vl-untied-lm2vis1-a": [MTP, NORM],
  "mimo-qwen3.5-vl-untied-pp2-a": [MTP, NORM],
  "mimo-qwen3.5-vl-untied-tp1-a": [MTP, NORM],
  "mimo-qwen3.5-vl-untied-tp2-a": [MTP, NORM],
  "mimo-qwen3.5-vl-untied-tp2pp2-a": [MTP, NORM],
  "minimax-m2-a": ["3 changed: model.layers.*.block_sparse_moe.gate.weight"],
  "minimax-m2-fp8-a": ["48 missing: model.layers.*.block_sparse_moe.experts.*.w*.weight_scale_inv, model.layers.*.self_attn.k_proj.weight_scale_inv, …", "51 changed: model.layers.*.block_sparse_moe.experts.*.w*.weight, model.layers.*.block_sparse_moe.gate.weight, …"],
  "minimax-m3-a": ["1 changed: vision_tower.vision_model.embeddings.patch_embedding.weight"],
  "ministral3-fp8-a": ["42 missing: language_model.model.layers.*.mlp.down_proj.activation_scale, language_model.model.layers.*.mlp.down_proj.weight_scale_inv, …", "21 changed: language_model.model.layers.*.mlp.down_proj.weight, language_model.model.layers.*.mlp.gate_proj.weight, …"],
  "nemotron-h-a": ["9 changed: backbone.layers.*.mixer.A_log, backbone.layers.*.mixer.D, …"],
  "nemotron-h-moe-a": ["9 changed: backbone.layers.*.mixer.A_log, backbone.layers.*.mixer.D, …"],
  "nemotron-h-mtp-a": ["9 changed: backbone.layers.*.mixer.A_log, backbone.layers.*.mixer.D, …"],
  "qwen2.5-vl-newnames-a": ["80 missing: model.language_model.embed_tokens.weight, model.language_model.layers.*.input_layernorm.weight, …", "51 entries left at random values: visual.patch_embed.proj.weight, visual.blocks.*.norm*.weight, …"],
  "qwen2.5-vl-nodtype-a": ["81 changed: lm_head.weight, model.embed_tokens.weight, …"],
  "qwen3-moe-packed-a": ["6 missing: model.layers.*.mlp.experts.down_proj, model.layers.*.mlp.experts.gate_up_proj", "2 entries left at random values: decoder.layers.mlp.experts.experts.linear_fc*.weight"],
  "qwen3-next-a": ["6 changed: model.layers.*.linear_attn.norm.weight"],
  "qwen3-vl-nodtype-a": ["122 changed: lm_head.weight, model.language_model.embed_tokens.weight, …"],
  "qwen3.5-moe-text-packed-a": ["12 changed: model.layers.*.linear_attn.A_log, model.layers.*.linear_attn.norm.weight"],
  "qwen3.5-moe-text-perexpert-a": ["12 changed: model.layers.*.linear_attn.A_log, model.layers.*.linear_attn.norm.weight"],
  "qwen3.5-text-a": ["12 changed: model.layers.*.linear_attn.A_log, model.layers.*.linear_attn.norm.weight"],
  "qwen3.5-token-classification-a": [NORM],
  "qwen3.5-vl-islands-a": [ISLANDS],
  "qwen3.5-vl-moe-mixedmtp-a": [NORM],
  "qwen3.5-vl-moe-packed-a": [NORM],
  "qwen3.5-vl-moe-perexpert-a": [NORM],
  "qwen3.5-vl-nomtp-a": [NORM],
  "qwen3.5-vl-tied-a": [NORM],
  "qwen3.5-vl-untied-a": [NORM],
  "sarvam-mla-a": ["the import fails"]
}
