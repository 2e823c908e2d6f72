/** The model behind a space in a few lines: from `run_config.yaml`, from the arguments of its run, from `config.json`. */
import { describedRun } from "../arguments/describedRun.ts"
import type { TrainingArguments } from "../arguments/TrainingArguments.ts"
import type { JsonValue } from "../document/StrictJson.ts"
import { type ComponentLayout, recordedLayout } from "../runconfig/layout.ts"
import { parsedSection } from "../runconfig/Provider.ts"
import { numberAt, providerOf, type RunConfigMap, sectionAt, textAt } from "../runconfig/RunConfigFile.ts"
import type { OpenedSpace } from "../space/OpenedSpace.ts"

export interface ModelFacts {
  /** Provider class or architecture. */
  readonly name?: string
  /** Fields that say what the model is, in reading order. */
  readonly fields: ReadonlyArray<readonly [name: string, value: string]>
  readonly layers?: number
  readonly vocabulary?: number
  /** Rows of a classifier's head, which is not the vocabulary's. */
  readonly labels?: number
  readonly tied?: boolean
  /** `BF16` … that the config wants. */
  readonly dtype?: string
  readonly quantisation?: string
  /** Layout for which a Megatron checkpoint was written. */
  readonly layout: ReadonlyArray<ComponentLayout>
}

const lastName = (target: string): string => target.slice(target.lastIndexOf(".") + 1)

const MEGATRON_FIELDS = [
  "num_layers", "hidden_size", "ffn_hidden_size", "num_attention_heads", "num_query_groups", "kv_channels", "num_moe_experts", "moe_ffn_hidden_size",
  "vocab_size", "mtp_num_layers", "seq_length", "hybrid_layer_pattern"
]
const HF_FIELDS = [
  "num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "head_dim", "num_experts", "n_routed_experts",
  "num_local_experts", "moe_intermediate_size", "vocab_size", "mtp_num_hidden_layers", "num_nextn_predict_layers", "max_position_embeddings"
]
const DTYPES: Readonly<Record<string, string>> = { bfloat16: "BF16", float16: "F16", float32: "F32", half: "F16", float: "F32" }

const fromRunConfig = (config: RunConfigMap): ModelFacts => {
  const provider = providerOf(config)
  const target = textAt(provider, "_target_")
  const tied = provider?.["share_embeddings_and_output_weights"]
  const dtype = DTYPES[lastName(textAt(sectionAt(provider ?? {}, "params_dtype"), "_target_") ?? "")]
  const layers = numberAt(provider, "num_layers")
  const vocabulary = numberAt(provider, "vocab_size")
  const labels = numberAt(provider, "num_labels")
  return {
    ...(target === undefined ? {} : { name: lastName(target) }),
    fields: MEGATRON_FIELDS.flatMap((field) => {
      const value = numberAt(provider, field) ?? textAt(provider, field)
      return value === undefined ? [] : [[field, String(value)] as const]
    }),
    ...(layers === undefined ? {} : { layers }),
    ...(vocabulary === undefined ? {} : { vocabulary }),
    ...(labels === undefined ? {} : { labels }),
    ...(typeof tied === "boolean" ? { tied } : {}),
    ...(dtype ? { dtype } : {}),
    layout: recordedLayout(config)
  }
}

type Json = { readonly [key: string]: JsonValue }

const isObject = (value: JsonValue | undefined): value is Json => typeof value === "object" && value !== null && !Array.isArray(value)

const fromHfConfig = (json: JsonValue): ModelFacts => {
  const top = isObject(json) ? json : {}
  const nested = ["text_config", "llm_config", "thinker_config"].map((key) => top[key]).find(isObject)
  const inner = isObject(nested?.["text_config"]) ? nested["text_config"] : nested
  const get = (field: string): JsonValue | undefined => inner?.[field] ?? top[field]
  const architectures = top["architectures"]
  const tied = top["tie_word_embeddings"] ?? inner?.["tie_word_embeddings"]
  const dtype = get("dtype") ?? get("torch_dtype")
  const quantisation = isObject(top["quantization_config"]) ? top["quantization_config"]["quant_method"] ?? "unknown" : undefined
  const [layers, vocabulary] = [get("num_hidden_layers"), get("vocab_size")]
  return {
    ...(Array.isArray(architectures) && typeof architectures[0] === "string" ? { name: architectures[0] } : {}),
    fields: HF_FIELDS.flatMap((field) => {
      const value = get(field)
      return typeof value === "number" ? [[field, String(value)] as const] : []
    }),
    ...(typeof layers === "number" ? { layers } : {}),
    ...(typeof vocabulary === "number" ? { vocabulary } : {}),
    ...(typeof tied === "boolean" ? { tied } : {}),
    ...(typeof dtype === "string" && DTYPES[dtype] ? { dtype: DTYPES[dtype] } : {}),
    ...(quantisation === undefined ? {} : { quantisation: String(quantisation) }),
    layout: []
  }
}

/** A checkpoint without run configuration: what the arguments of its run say of the same. */
const fromArguments = (args: TrainingArguments): ModelFacts => {
  const { layout, provider } = describedRun(args)
  return {
    ...(provider ? fromRunConfig({ model: parsedSection(provider) }) : { fields: [] }),
    layout: layout ? [{ component: "model", ...layout.parallelism }] : []
  }
}

export const modelFacts = (space: Pick<OpenedSpace, "runConfig" | "hfConfig" | "arguments">): ModelFacts =>
  space.runConfig ? fromRunConfig(space.runConfig) : space.arguments ? fromArguments(space.arguments) : space.hfConfig ? fromHfConfig(space.hfConfig.json) : { fields: [], layout: [] }
