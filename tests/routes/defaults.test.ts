/** What a config leaves out has the value of the published config class (transformers 5.18), as the trainer's own import reads it. */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { loadCase } from "../conformance/cases.ts"

type Config = Record<string, unknown>

/** The config without one field. */
const without = (config: Config, path: string): Config => {
  const copy = structuredClone(config)
  const keys = path.split(".")
  const last = keys.pop()!
  delete keys.reduce((section, key) => section[key] as Config, copy)[last]
  return copy
}

/** Enough heads for every default number of key/value heads. */
const manyHeads = (config: Config): Config =>
  Object.fromEntries(Object.entries(config).map(([key, value]) =>
    [key, key === "num_attention_heads" ? 64 : /^(text|thinker)_config$/.test(key) ? manyHeads(value as Config) : value]))

const fields = (config: Config) => {
  const family = families.find(config)
  return family.describe(family.schema.parse(config), noHeaders).provider.fields
}

const plain = (value: unknown): unknown => (typeof value === "object" && value !== null && "$float" in value ? value.$float : value)

it.each([
  ["qwen3-moe-a", "num_key_value_heads", "num_query_groups", 4],
  ["qwen3-moe-a", "intermediate_size", "ffn_hidden_size", 6144],
  ["qwen3-next-a", "num_key_value_heads", "num_query_groups", 2],
  ["qwen3.5-text-a", "num_key_value_heads", "num_query_groups", 4],
  ["qwen3.5-moe-text-packed-a", "num_key_value_heads", "num_query_groups", 2],
  ["qwen3.5-moe-text-packed-a", "num_experts_per_tok", "moe_router_topk", 8],
  ["qwen3-vl-a", "text_config.num_key_value_heads", "num_query_groups", 32],
  ["qwen3-vl-a", "text_config.head_dim", "kv_channels", 128],
  ["qwen3-vl-a", "text_config.rope_parameters", "rotary_base", 500_000],
  ["qwen3-vl-moe-a", "text_config.num_key_value_heads", "num_query_groups", 16],
  ["qwen3-vl-moe-a", "text_config.num_experts_per_tok", "moe_router_topk", 4],
  ["qwen2.5-vl-a", "text_config.num_key_value_heads", "num_query_groups", 8],
  ["qwen2.5-vl-a", "text_config.rms_norm_eps", "layernorm_epsilon", 1e-5],
  ["qwen2.5-omni-a", "thinker_config.text_config.rope_parameters", "rotary_base", 1_000_000],
  ["qwen3-omni-moe-a", "thinker_config.text_config.num_key_value_heads", "num_query_groups", 4],
  ["ministral3-a", "text_config.head_dim", "kv_channels", 128],
  ["gpt-oss-a", "head_dim", "kv_channels", 64],
  ["gpt-oss-a", "num_key_value_heads", "num_query_groups", 8],
  ["olmoe-a", "rms_norm_eps", "layernorm_epsilon", 1e-5],
  ["deepseek-v3-a", "q_lora_rank", "q_lora_rank", 1536],
  ["glm-4.7-flash-a", "q_lora_rank", "q_lora_rank", 768],
  ["glm-4.5-a", "num_key_value_heads", "num_query_groups", 8],
  ["glm-4.5v-a", "text_config.attention_bias", "add_qkv_bias", true],
  ["hy-v3-a", "head_dim", "kv_channels", 128],
  ["exaone-moe-a", "num_key_value_heads", "num_query_groups", 32],
  ["ernie-4.5-moe-a", "rope_parameters", "rotary_base", 500_000],
  ["falcon-h1-a", "num_key_value_heads", "num_query_groups", 8],
  ["minimax-m2-a", "head_dim", "kv_channels", 128]
])("%s without %s", (name, path, field, value) => {
  expect(plain(fields(without(manyHeads(loadCase(name).hf.config), path))[field])).toEqual(value)
})

it("null is not absent: it is derived from other fields", () => {
  const { config } = loadCase("qwen2.5-vl-a").hf
  const derived = { ...config, text_config: { ...(config["text_config"] as Config), num_key_value_heads: null } }
  expect(fields(derived)["num_query_groups"]).toBe(4)
})
