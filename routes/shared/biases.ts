/**
 * Biases of the linear layers of attention and MLP. HF has a flag for attention (query, key, value and, in most models, the output)
 * and one for the MLP; Megatron has one for query, key and value and one for all linear layers. Where HF has fewer than the second
 * flag gives, the others are 0: the same model, until training changes them.
 */
import type { ConfigField, ZeroFilled } from "../../src/bridge/Family.ts"
import { zerosOf } from "../../src/bridge/kinds.ts"
import type { Table } from "../../src/bridge/Registry.ts"
import { FormatError } from "../../src/errors.ts"
import type { TransformerConfig } from "../../src/model/TransformerConfig.ts"

/** Which of them an HF layer has. */
export interface LinearBiases {
  readonly qkv: boolean
  readonly output: boolean
  readonly mlp: boolean
}

interface Flags {
  readonly attention_bias?: boolean | null | undefined
  readonly mlp_bias?: boolean | null | undefined
}

/** Both flags, as Llama reads them. */
export const flaggedBiases = ({ attention_bias, mlp_bias }: Flags): LinearBiases =>
  ({ qkv: attention_bias ?? false, output: attention_bias ?? false, mlp: mlp_bias ?? false })

/** Models whose MLPs never have any. */
export const attentionBiases = ({ attention_bias }: Flags): LinearBiases => flaggedBiases({ attention_bias })

/** `add_qkv_bias` and `add_bias_linear`. */
export const biasFields = ({ mlp, output, qkv }: LinearBiases): Pick<TransformerConfig, "add_qkv_bias" | "add_bias_linear"> =>
  ({ add_qkv_bias: qkv, add_bias_linear: output || mlp })

const PLACES: Readonly<Record<keyof LinearBiases, ReadonlyArray<string>>> = {
  qkv: ["self_attention.linear_qkv"],
  output: ["self_attention.linear_proj"],
  mlp: ["mlp.linear_fc1", "mlp.linear_fc2", "mlp.router", "mlp.experts.linear_fc1", "mlp.experts.linear_fc2"]
}

/** The rows of a layer, with zeros for the biases that Megatron has and HF has not. */
export const withZeroBiases = (table: Table, has: LinearBiases): Table => {
  if (!biasFields(has).add_bias_linear) return table
  const missing = Object.entries(PLACES).flatMap(([where, places]) => (has[where as keyof LinearBiases] ? [] : places))
  const zero = missing.flatMap((place) => ["", "*"].flatMap((expert) => {
    const weight = table[`${place}.weight${expert}`]
    return weight === undefined ? [] : [[`${place}.bias${expert}`, zerosOf(typeof weight === "string" ? weight : weight.hf[0]!)]]
  }))
  return { ...table, ...Object.fromEntries(zero) }
}

/** `fields`: those of config.json under which the HF model has these biases too. */
export const zeroBiases = (has: LinearBiases, fields: ReadonlyArray<ConfigField> = []): { readonly zeroFilled?: ZeroFilled } => {
  const { output, mlp, qkv } = has
  if (!biasFields(has).add_bias_linear || (qkv && output && mlp)) return {}
  const missing = [...(qkv ? [] : ["linear_qkv"]), ...(output ? [] : ["linear_proj"]), ...(mlp ? [] : ["the MLP's layers"])]
  return {
    zeroFilled: {
      why: `the trainer has biases in all linear layers or in none (add_bias_linear); the model has none in ${missing.join(" and ")}`,
      fields
    }
  }
}

/** The same for models in which each flag of config.json gives what it says; `section`: their place in it, ending in a dot. */
export const flaggedZeroBiases = (t: Flags, section = "") =>
  zeroBiases(flaggedBiases(t), [{ path: `${section}${t.mlp_bias ? "attention_bias" : "mlp_bias"}`, value: true, add: true }])

/** FormatError `config/biases` for biases that the trainer's model cannot have. */
export const refuseBiases = (config: Readonly<Record<string, unknown>>, fields: ReadonlyArray<string>, why: string): void => {
  const field = fields.find((name) => config[name] === true)
  if (field === undefined) return
  throw new FormatError("config/biases", `gives the model biases for which the trainer's has no place: ${why}`, { field })
}

/** Why some models of the trainer have none beside the query's, key's and value's. */
export const NO_PLACE = {
  latent: "its latent attention has none in the projections to the latents",
  shared: "its shared experts have none, and it refuses a model that has some elsewhere",
  normedOutput: "it normalises the outputs of attention and MLP before a bias would be added",
  mixer: "its state-space mixers have none in their projections"
} as const
