/** Toy models of three architectures: a config, and tensors of distinct deterministic bytes that its family asks for. */
import { families } from "../../../routes/index.ts"
import { sampleTensors } from "../../../src/conformance/Sample.ts"
import { fillWeights } from "../../../src/conformance/WeightGenerator.ts"
import { volume } from "../../../src/tensor/Copy.ts"
import { bytesOf, type DType } from "../../../src/tensor/DType.ts"

export type Architecture = "llama" | "qwen2" | "qwen3"
export const architectures: ReadonlyArray<Architecture> = ["llama", "qwen2", "qwen3"]

export type Config = Record<string, unknown>

const COMMON = {
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 20,
  max_position_embeddings: 64,
  rms_norm_eps: 1e-6,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: false,
  torch_dtype: "bfloat16"
}

const CONFIGS: Readonly<Record<Architecture, Config>> = {
  llama: { architectures: ["LlamaForCausalLM"], model_type: "llama", ...COMMON },
  qwen2: { architectures: ["Qwen2ForCausalLM"], model_type: "qwen2", ...COMMON },
  qwen3: { architectures: ["Qwen3ForCausalLM"], model_type: "qwen3", head_dim: 4, ...COMMON }
}

export interface ToyTensor {
  readonly name: string
  readonly dtype: DType | (string & {})
  readonly shape: ReadonlyArray<number>
  readonly data: Buffer
}

export const configOf = (architecture: Architecture, change: Config = {}): Config => ({ ...CONFIGS[architecture], ...change })

/** What a tensor of this name, dtype and shape holds here. */
export const dataOf = (name: string, dtype: DType, shape: ReadonlyArray<number>): Buffer => {
  const data = Buffer.alloc(volume(shape) * bytesOf(dtype))
  fillWeights(data, name, dtype, 0, { fp32Islands: true })
  return data
}

/** The tensors that the family of `config` asks for, by name. */
export const tensorsOf = (config: Config, dtype: "BF16" | "F16" | "F32" = "BF16"): ReadonlyArray<ToyTensor> =>
  sampleTensors(families, { config, fp32: /^$/, shardBytes: Infinity })
    .map(({ name, shape }) => ({ name, dtype, shape, data: dataOf(name, dtype, shape) }))
