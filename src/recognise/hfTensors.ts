/** Sets of tensors under Hugging Face names that are no plain model, by their names. */
import { quote } from "../errors.ts"
import { CONSOLIDATED } from "./files.ts"
import type { Recognised } from "./Recognised.ts"

interface Sign extends Recognised {
  readonly test: RegExp
  /** One such name is enough, or more than half of all must be like it. */
  readonly of: "some" | "most"
}

const MERGE = "Merge it first: model.merge_and_unload().save_pretrained(DIR), then name DIR."
const DEQUANTISE = "Import the model in its original dtype, or dequantise it with its own tools first."
const UNWRAP = "Save the model inside the wrapper (model.module, or unwrap_model of accelerate) with save_pretrained, or strip the prefix from the names."

/** Ordered: what says most comes first. */
const SIGNS: ReadonlyArray<Sign> = [
  {
    kind: "peft-unmerged",
    test: /\.base_layer\.(weight|bias)$/,
    of: "some",
    what: "this is a PEFT model whose adapters (LoRA and the like) are not merged",
    next: MERGE
  },
  {
    kind: "peft-adapter",
    test: /\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|lora_[ab]|ia3_l|vera_lambda_[bd]|hada_w\d_[ab])\b/,
    of: "most",
    what: "these are a PEFT adapter's tensors (LoRA and the like), not a model: its base model is elsewhere",
    next: "Merge it first: PeftModel.from_pretrained(base, ADAPTER).merge_and_unload().save_pretrained(DIR), then name DIR."
  },
  {
    kind: "peft-beside",
    test: /\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|lora_[ab])\b/,
    of: "some",
    what: "this is a model with LoRA adapters beside its weights, not merged",
    next: MERGE
  },
  {
    kind: "peft-prefix",
    test: /^base_model\.model\./,
    of: "most",
    what: "this model was saved through PEFT: its names carry the prefix base_model.model.",
    next: MERGE
  },
  {
    kind: "bitsandbytes",
    test: /\.(absmax|quant_map|nested_absmax|nested_quant_map|SCB|quant_state\.bitsandbytes__\w+)$/,
    of: "some",
    what: "these weights are quantised by bitsandbytes, which is not read here",
    next: DEQUANTISE
  },
  { kind: "gptq", test: /\.g_idx$/, of: "some", what: "these weights are quantised by GPTQ (qweight, qzeros, scales), which is not read here", next: DEQUANTISE },
  { kind: "awq", test: /\.qweight$/, of: "some", what: "these weights are quantised by AWQ or GPTQ (qweight, qzeros, scales), which is not read here", next: DEQUANTISE },
  { kind: "hqq", test: /\.W_q$/, of: "some", what: "these weights are quantised by HQQ, which is not read here", next: DEQUANTISE },
  { kind: "aqlm", test: /\.codebooks$/, of: "some", what: "these weights are quantised by AQLM, which is not read here", next: DEQUANTISE },
  { kind: "mlx-quantised", test: /\.biases$/, of: "some", what: "these weights are quantised by MLX (weight, scales, biases), which is not read here", next: DEQUANTISE },
  { kind: "ddp-prefix", test: /^module\./, of: "most", what: "this model was saved through a wrapper (DistributedDataParallel, DeepSpeed): its names carry the prefix module.", next: UNWRAP },
  { kind: "compile-prefix", test: /^_orig_mod\./, of: "most", what: "this model was saved through torch.compile: its names carry the prefix _orig_mod.", next: "Save model._orig_mod with save_pretrained, or strip the prefix from the names." },
  { kind: "fsdp-names", test: /(^|\.)(_fsdp_wrapped_module|_checkpoint_wrapped_module)\./, of: "some", what: "this model was saved through FSDP or activation checkpointing: its names carry the wrapper's own", next: UNWRAP },
  { kind: "value-head-prefix", test: /^pretrained_model\./, of: "most", what: "this model was saved with a value head (TRL): its names carry the prefix pretrained_model.", next: "Save model.pretrained_model with save_pretrained; the head itself has no place in a Megatron checkpoint." },
  { kind: "gguf-names", test: /^blk\.\d+\.(attn|ffn)_/, of: "some", what: "these are GGUF names in a safetensors file", next: "Convert the original weights, not their GGUF form." },
  {
    kind: "consolidated",
    test: /^(model\.)?layers\.\d+\.(attention\.w[qkvo]|feed_forward\.w[123])\.weight$/,
    of: "some",
    what: "these are the names of consolidated weights (attention.wq, feed_forward.w1), the publisher's own format, not those of transformers",
    next: CONSOLIDATED
  },
  {
    kind: "megatron-names",
    test: /(^|\.)decoder\.layers\.(\d+\.)?(self_attention\.linear_(qkv|proj)|mlp\.linear_fc[12])\./,
    of: "some",
    what: "these are Megatron's names in safetensors files",
    next: "Name the torch_dist checkpoint instead, or write a Hugging Face directory with `export`."
  },
  {
    kind: "value-head",
    test: /^(v_head|value_head|reward_head|rm_head|score|classifier|regression_head|qa_outputs)\./,
    of: "some",
    what: "this model has a value or classification head, which has no place in a Megatron language model",
    next: "Import the language model it was made from, or leave the head behind on purpose: --allow-unmapped with its name, and architectures of the language model in config.json."
  }
]

/** What a value or classification model calls itself in `architectures`. */
const CLASSIFIER = /For(Sequence|Token)Classification$|ForQuestionAnswering$|RewardModel$|WithValueHead$|ForReward/

/** Of the config: what recognition can use. */
export interface ConfigHints {
  /** `quantization_config.quant_method`. */
  readonly quantMethod?: string | undefined
  readonly architecture?: string | undefined
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value)

/** Of a parsed config.json, of whatever form. */
export const configHints = (json: unknown): ConfigHints => {
  if (!isObject(json)) return {}
  const { architectures } = json
  const quantised = [json, ...Object.values(json).filter(isObject)].map((part) => part["quantization_config"]).find(isObject)
  const method = quantised?.["quant_method"]
  return {
    ...(typeof method === "string" ? { quantMethod: method } : {}),
    ...(Array.isArray(architectures) && typeof architectures[0] === "string" ? { architecture: architectures[0] } : {})
  }
}

/** What the tensors with these names are; undefined for what looks like a plain model. */
export const recogniseHfTensors = (names: ReadonlyArray<string>, { architecture, quantMethod }: ConfigHints = {}): Recognised | undefined => {
  for (const { of, test, ...found } of SIGNS) {
    const like = names.filter((name) => test.test(name))
    if (like.length === 0 || (of === "most" && like.length * 2 <= names.length)) continue
    const named = quantMethod !== undefined && found.next === DEQUANTISE ? { what: `${found.what} (quant_method ${quote(quantMethod)})` } : {}
    return { ...found, ...named, example: like[0]! }
  }
  if (architecture !== undefined && CLASSIFIER.test(architecture)) {
    const sign = SIGNS.find(({ kind }) => kind === "value-head")!
    return { kind: sign.kind, what: sign.what, next: sign.next }
  }
  return undefined
}
