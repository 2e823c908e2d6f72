/**
 * What the providers of the real system (Megatron-Bridge 067f987d, transformers 5.18) make of the toys, beside what our run
 * configuration says. `reference/providers.json`: every field of the model section that is not its class's default.
 * `reference/absentFields.json`: what changes where a field of config.json is left out.
 */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { parse } from "yaml"
import { compareModel } from "../../src/conformance/compareModel.ts"
import { importOf } from "./inMemory.ts"
import { type Toy, toys } from "./toys.ts"

type Fields = Readonly<Record<string, unknown>>

const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(name, import.meta.url), "utf8")) as T
const providers = read<Readonly<Record<string, Fields>>>("reference/providers.json")
const absentFields = read<Readonly<Record<string, Readonly<Record<string, Fields>>>>>("reference/absentFields.json")
const { providers: defaults } = read<{ readonly providers: { readonly every: Fields; readonly classes: Readonly<Record<string, Fields>> } }>("../../src/conformance/runConfigDefaults.json")

const modelOf = (toy: Toy): Fields => (parse(importOf(toy).runConfig, { maxAliasCount: -1 }) as { readonly model: Fields }).model
const whole = (fields: Fields): Fields => ({ ...defaults.every, ...defaults.classes[String(fields["_target_"])], ...fields })

/** Where ours is right and the reference is not, or was built for another Megatron-Core: a word of the difference, and why. */
const DIFFERENT: ReadonlyArray<readonly [models: RegExp, difference: RegExp, reason: string]> = [
  [/./, /^(cuda_graph_modules|inference_cuda_graph_scope|embedding_init_method|embedding_init_method_std|init_method|output_layer_init_method|recompute_modules)\b.*the reference has (null|"full")/, "its class refused the rest of the values, and was not made final"],
  [/./, /^add_bias_linear: true|^bias_dropout_fusion: false/, "attention has biases: the trainer's class has them everywhere or nowhere"],
  [/dense-layers|ernie-4.5-moe-untied/, /^moe_layer_freq/, "it does not read which layers are dense"],
  [/ernie-4.5-moe-untied/, /^moe_shared_expert_intermediate_size/, "a width of 0, which its own class refuses"],
  [/^glm/, /^moe_shared_expert_intermediate_size/, "it takes one shared expert for granted"],
  [/^glm-4.5v/, /^share_embeddings_and_output_weights/, "it does not read the flag"],
  [/^(mistral3-tied|ministral3)/, /^layernorm_epsilon/, "it does not read the number"],
  [/omni-model/, /rope_parameters\.type is missing/, "the older name, beside rope_type"],
  [/omni/, /^rotary_base/, "it does not find the base in rope_parameters"],
  [/^nemotron-h-separate-mtp/, /^kv_channels/, "it does not read attention_head_dim"],
  [/^nemotron-vl/, /^(kv_channels|mamba_\w+)\b/, "it takes the sizes of the published model for granted"],
  [/^nemotron-labs-diffusion/, /^(kv_channels|num_attention_heads|num_query_groups|hf_config|apply_llama4)/, "the same; and the class of the model's repository cannot be named"],
  [/^nemotron-(nano|super)-omni/, /^sound_config.model_type/, "the class of the model's repository was not there"],
  [/^step-3.7/, /^attention_output_gate/, "its rows of the gates have no place without it"],
  [/^step-3.7/, /^layer_types/, "the trainer asks for the prediction layers' kinds too"],
  [/^deepseek-v4/, /: the reference has no such field/, "a later Megatron-Core has the field"]
]

const isKnown = (toy: string, problem: string): boolean => DIFFERENT.some(([models, difference]) => models.test(toy) && difference.test(problem))
const problemsOf = (toy: string, ours: Fields, theirs: Fields): ReadonlyArray<string> =>
  compareModel(ours, theirs).map((problem) => problem.replace("run_config model.", "")).filter((problem) => !isKnown(toy, problem))

describe("the model section is what the reference's provider would be", () => {
  it.each(toys.filter(({ name }) => name in providers))("$name", (toy) => {
    expect(problemsOf(toy.name, modelOf(toy), whole(providers[toy.name]!))).toEqual([])
  })
})

/** The same of fields that are left out. */
const MISREAD: ReadonlyArray<readonly [models: RegExp, path: RegExp, reason: string]> = [
  [/^deepseek-v2/, /^rope_scaling\.type$/, "a section without a type is no default one for a file that has both spellings"],
  [/^glm-5/, /^first_k_dense_replace$/, "mlp_layer_types says it"],
  [/^(mimo-7b|llada|sarvam-mla)/, /./, "the class of the model's repository was not there"],
  [/^mimo-v2-flash/, /^scoring_func$/, "the model scores by sigmoid alone"],
  [/^(mimo-v2-flash|glm-4.5)/, /^attention_dropout$/, "no dropout"],
  [/^ministral3/, /rope_theta$/, "the base of the published models"],
  [/^deepseek-v4/, /^compress_rope_theta$/, "a later Megatron-Core has the field"],
  [/^nemotron-(nano|super)-omni/, /^vision_config\.separate_video_embedder$/, "the tensors say it"],
  [/^nemotron-super-omni/, /mtp_hybrid_override_pattern$/, "the pattern of the published models"],
  [/omni/, /rope_theta$/, "it does not find the base in rope_parameters"]
]

/** Decided by the tensors, not by what a config class would say of a published size; or a field whose absence the reference misreads. */
const BY_TENSORS = new Set(["kv_channels", "ffn_hidden_size", "num_query_groups", "mtp_num_layers", "qk_layernorm", "moe_router_enable_expert_bias", "share_embeddings_and_output_weights", "moe_shared_expert_intermediate_size", "qk_pos_emb_head_dim", "mamba_head_dim", "v_head_dim", "add_qkv_bias", "add_bias_linear", "num_moe_experts", "moe_ffn_hidden_size", "cuda_graph_modules", "inference_cuda_graph_scope", "hf_model_id"])

const without = (toy: Toy, path: string): Toy => {
  const [config, keys] = [structuredClone(toy.config), path.split(".")]
  const parent = keys.slice(0, -1).reduce<Record<string, unknown>>((section, key) => section[key] as Record<string, unknown>, config)
  delete parent[keys.at(-1)!]
  return { ...toy, config, configText: JSON.stringify(config) }
}

describe("a field that config.json leaves out has the value of its class", () => {
  it.each(toys.filter(({ name }) => name in absentFields))("$name", (toy) => {
    const wrong: Array<string> = []
    const base = modelOf(toy)
    for (const [path, changes] of Object.entries(absentFields[toy.name]!)) {
      if (MISREAD.some(([models, fields]) => models.test(toy.name) && fields.test(path))) continue
      const ours = modelOf(without(toy, path))
      const own = whole(ours)
      for (const [field, value] of Object.entries(changes)) {
        if (BY_TENSORS.has(field) || JSON.stringify(own[field] ?? null) === JSON.stringify(value)) continue
        wrong.push(`without ${path}: ${field} ${JSON.stringify(own[field])}, the reference has ${JSON.stringify(value)}`)
      }
      for (const [field, value] of Object.entries(ours)) {
        if (BY_TENSORS.has(field) || field in changes || (typeof value === "object" && value !== null) || (typeof value === "string" && value.startsWith("{")) || base[field] === value) continue
        wrong.push(`without ${path}: ${field} becomes ${JSON.stringify(value)}, the reference leaves it`)
      }
    }
    expect(wrong).toEqual([])
  })
})
