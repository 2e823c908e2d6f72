/**
 * The arguments of a run held against the tensors that it stored. A trainer that is started with them (`--use-checkpoint-args`), and
 * whatever describes the model by them, builds what they say; the tensors are what there is.
 */
import { describedRun } from "../arguments/describedRun.ts"
import type { TrainingArguments } from "../arguments/TrainingArguments.ts"
import { ModelFields } from "../bridge/ModelFields.ts"
import { expertKey, indexedLayer, leadingAxes, stackedLayer } from "../model/layerKeys.ts"
import type { Shape } from "../tensor/Copy.ts"
import { type Diagnosis, diagnosis } from "./Diagnosis.ts"

/** A tensor of the model: its name as Transformer Engine's layers have it, and its global shape. */
export interface ShapedTensor {
  readonly name: string
  readonly shape: Shape
}

/** What the arguments say, by their own names. */
interface Said {
  /** Names of the arguments, as they are given. */
  readonly names: string
  readonly value: number
}

/** Sizes of the tensors whose names end so, without axes of layers and experts; undefined: the arguments do not say. */
interface SizeRule {
  readonly of: RegExp
  readonly axes: (fields: ModelFields) => ReadonlyArray<Said | undefined>
}

const said = (names: string, value: number | undefined): Said | undefined => (value === undefined ? undefined : { names, value })

const product = (...factors: ReadonlyArray<number | undefined>): number | undefined =>
  factors.reduce<number | undefined>((all, n) => (all === undefined || n === undefined ? undefined : all * n), 1)

const sum = (...terms: ReadonlyArray<number | undefined>): number | undefined =>
  terms.reduce<number | undefined>((all, n) => (all === undefined || n === undefined ? undefined : all + n), 0)

const hidden = (f: ModelFields): Said | undefined => said("hidden_size", f.number("hidden_size"))
const gated = (f: ModelFields): number => (f.is("gated_linear_unit") ? 2 : 1)
const halves = (f: ModelFields, names: string): string => (gated(f) === 2 ? `${names}, twice for the gate` : names)

const queryRows = (f: ModelFields) => {
  const heads = product(f.number("num_attention_heads"), f.number("kv_channels"))
  return said("num_attention_heads × kv_channels", heads)
}

const qkvRows = (f: ModelFields) => {
  const groups = product(2, f.number("num_query_groups"), f.number("kv_channels"))
  const gate = f.is("attention_output_gate")
  return said(`(num_attention_heads${gate ? " twice for the gate" : ""} + 2 × num_query_groups) × kv_channels`, sum(product(gate ? 2 : 1, f.number("num_attention_heads"), f.number("kv_channels")), groups))
}

const columns = (name: string) => (f: ModelFields) => said(name, f.number(name))
const rows = (name: string) => (f: ModelFields) => said(halves(f, name), product(gated(f), f.number(name)))

/** The global shapes that Megatron-Core's modules have. Attention of another kind than softmax's has names of its own. */
const SIZES: ReadonlyArray<SizeRule> = [
  { of: /^embedding\.word_embeddings\.weight$|^output_layer\.weight$/, axes: (f) => [said("padded_vocab_size", f.number("vocab_size")), hidden(f)] },
  { of: /^embedding\.position_embeddings\.weight$/, axes: (f) => [said("max_position_embeddings", f.number("seq_length")), hidden(f)] },
  { of: /\.self_attention\.linear_qkv\.weight$/, axes: (f) => [qkvRows(f), hidden(f)] },
  { of: /\.self_attention\.linear_proj\.weight$/, axes: (f) => [hidden(f), f.is("multi_latent_attention") ? said("num_attention_heads × v_head_dim", product(f.number("num_attention_heads"), f.number("v_head_dim"))) : queryRows(f)] },
  { of: /\.self_attention\.linear_q_down_proj\.weight$/, axes: (f) => [columns("q_lora_rank")(f), hidden(f)] },
  { of: /\.self_attention\.linear_q_up_proj\.weight$/, axes: (f) => [said("num_attention_heads × (qk_head_dim + qk_pos_emb_head_dim)", product(f.number("num_attention_heads"), sum(f.number("qk_head_dim"), f.number("qk_pos_emb_head_dim")))), columns("q_lora_rank")(f)] },
  { of: /\.self_attention\.linear_kv_down_proj\.weight$/, axes: (f) => [said("kv_lora_rank + qk_pos_emb_head_dim", sum(f.number("kv_lora_rank"), f.number("qk_pos_emb_head_dim"))), hidden(f)] },
  { of: /\.self_attention\.linear_kv_up_proj\.weight$/, axes: (f) => [said("num_attention_heads × (qk_head_dim + v_head_dim)", product(f.number("num_attention_heads"), sum(f.number("qk_head_dim"), f.number("v_head_dim")))), columns("kv_lora_rank")(f)] },
  { of: /\.mlp\.linear_fc1\.weight$/, axes: (f) => [rows("ffn_hidden_size")(f), hidden(f)] },
  { of: /\.mlp\.linear_fc2\.weight$/, axes: (f) => [hidden(f), columns("ffn_hidden_size")(f)] },
  { of: /\.mlp\.router\.weight$/, axes: (f) => [said("num_experts", f.number("num_moe_experts")), hidden(f)] },
  { of: /\.experts\..*linear_fc1\.weight$/, axes: (f) => [rows("moe_ffn_hidden_size")(f), said(f.number("moe_latent_size") === undefined ? "hidden_size" : "moe_latent_size", f.number("moe_latent_size") ?? f.number("hidden_size"))] },
  { of: /\.experts\..*linear_fc2\.weight$/, axes: (f) => [said(f.number("moe_latent_size") === undefined ? "hidden_size" : "moe_latent_size", f.number("moe_latent_size") ?? f.number("hidden_size")), columns("moe_ffn_hidden_size")(f)] },
  { of: /\.shared_experts\.linear_fc1\.weight$/, axes: (f) => [rows("moe_shared_expert_intermediate_size")(f), hidden(f)] },
  { of: /\.shared_experts\.linear_fc2\.weight$/, axes: (f) => [hidden(f), columns("moe_shared_expert_intermediate_size")(f)] }
]

/** A tensor that is there exactly where an argument says so. */
interface PresenceRule {
  readonly of: RegExp
  /** What has to be there for the tensor to be missed. */
  readonly beside: RegExp
  readonly argument: string
  readonly wanted: (fields: ModelFields) => boolean
}

const DECODER = /^decoder\.layers\./

const PRESENCE: ReadonlyArray<PresenceRule> = [
  { of: /^output_layer\.weight$/, beside: /^embedding\.word_embeddings\.weight$/, argument: "untie_embeddings_and_output_weights", wanted: (f) => !f.is("share_embeddings_and_output_weights") },
  { of: /^embedding\.position_embeddings\.weight$/, beside: /^embedding\.word_embeddings\.weight$/, argument: "position_embedding_type", wanted: (f) => f.text("position_embedding_type") === "learned_absolute" },
  { of: /^decoder\..*self_attention\.linear_qkv\.bias$/, beside: /^decoder\..*self_attention\.linear_qkv\.weight$/, argument: "add_qkv_bias, add_bias_linear", wanted: (f) => f.is("add_bias_linear") || f.is("add_qkv_bias") },
  { of: /^decoder\..*self_attention\.linear_proj\.bias$/, beside: /^decoder\..*self_attention\.linear_proj\.weight$/, argument: "add_bias_linear", wanted: (f) => f.is("add_bias_linear") },
  { of: /^decoder\..*\.mlp\.linear_fc2\.bias$/, beside: /^decoder\..*\.mlp\.linear_fc2\.weight$/, argument: "add_bias_linear", wanted: (f) => f.is("add_bias_linear") },
  { of: /^decoder\..*self_attention\.q_layernorm\.weight$/, beside: /^decoder\..*self_attention\.linear_qkv\.weight$/, argument: "qk_layernorm", wanted: (f) => f.is("qk_layernorm") },
  { of: /^decoder\.final_layernorm\.bias$/, beside: /^decoder\.final_layernorm\.weight$/, argument: "normalization", wanted: (f) => f.text("normalization") === "LayerNorm" },
  { of: /^decoder\..*\.mlp\.router\.weight$/, beside: DECODER, argument: "num_experts", wanted: (f) => (f.number("num_moe_experts") ?? 0) > 0 },
  { of: /^decoder\..*\.mlp\.router\.expert_bias$/, beside: /^decoder\..*\.mlp\.router\.weight$/, argument: "moe_router_enable_expert_bias", wanted: (f) => f.is("moe_router_enable_expert_bias") },
  { of: /^decoder\..*\.shared_experts\.linear_fc1\.weight$/, beside: /^decoder\..*\.mlp\.router\.weight$/, argument: "moe_shared_expert_intermediate_size", wanted: (f) => f.number("moe_shared_expert_intermediate_size") !== undefined },
  { of: /^mtp\./, beside: DECODER, argument: "mtp_num_layers", wanted: (f) => (f.number("mtp_num_layers") ?? 0) > 0 }
]

interface Mismatch {
  readonly text: string
  readonly tensor: string
}

/** How many layers of the decoder are stored. */
const storedLayers = (tensors: ReadonlyArray<ShapedTensor>): { readonly count: number; readonly tensor: string } | undefined => {
  let most: { readonly count: number; readonly tensor: string } | undefined
  for (const { name, shape } of tensors) {
    if (!DECODER.test(name)) continue
    const count = stackedLayer(name) ? shape[0] ?? 0 : (indexedLayer(name)?.index ?? -1) + 1
    if (!most || count > most.count) most = { count, tensor: name }
  }
  return most
}

/** How many experts are stored: along an axis, or one key each. */
const storedExperts = (tensors: ReadonlyArray<ShapedTensor>): { readonly count: number; readonly tensor: string } | undefined => {
  let most: { readonly count: number; readonly tensor: string } | undefined
  for (const { name, shape } of tensors) {
    const key = expertKey(name)
    if (!key) continue
    const count = key.expert === undefined ? shape[leadingAxes(name) - 1] ?? 0 : key.expert + 1
    if (!most || count > most.count) most = { count, tensor: name }
  }
  return most
}

const counted = (names: string, wanted: number | undefined, stored: { readonly count: number; readonly tensor: string } | undefined): ReadonlyArray<Mismatch> =>
  wanted === undefined || !stored || stored.count === wanted ? [] : [{ tensor: stored.tensor, text: `${names} says ${wanted}, ${stored.count} are stored` }]

const sizes = (tensors: ReadonlyArray<ShapedTensor>, fields: ModelFields): ReadonlyArray<Mismatch> =>
  SIZES.flatMap(({ axes, of }) => {
    const wanted = axes(fields)
    const own = tensors.filter(({ name }) => of.test(name))
    return wanted.flatMap((size, axis): ReadonlyArray<Mismatch> => {
      const other = size && own.find(({ name, shape }) => (shape.slice(leadingAxes(name))[axis] ?? size.value) !== size.value)
      return size && other ? [{ tensor: other.name, text: `${size.names} makes ${size.value}, ${other.name} is [${other.shape.join(", ")}]` }] : []
    })
  })

/** An argument that the run did not record asks for nothing. */
const presences = (tensors: ReadonlyArray<ShapedTensor>, fields: ModelFields, args: TrainingArguments): ReadonlyArray<Mismatch> =>
  PRESENCE.flatMap(({ argument, beside, of, wanted }): ReadonlyArray<Mismatch> => {
    const [there, expected] = [tensors.find(({ name }) => of.test(name)), wanted(fields)]
    if (there && !expected) return [{ tensor: there.name, text: `${argument} speaks against ${there.name}, which is stored` }]
    const near = there || !argument.split(", ").some((name) => args.has(name)) ? undefined : tensors.find(({ name }) => beside.test(name))
    return near && expected ? [{ tensor: near.name, text: `${argument} asks for a tensor that is not stored beside ${near.name}` }] : []
  })

/** The rows of the vocabulary that a tokenizer's size becomes, by the arguments. */
const vocabulary = (args: TrainingArguments, tensors: ReadonlyArray<ShapedTensor>): ReadonlyArray<Mismatch> => {
  const own = tensors.find(({ name }) => name === "embedding.word_embeddings.weight")
  const [size, padding, tp, stored] = ["vocab_size", "make_vocab_size_divisible_by", "tensor_model_parallel_size", "padded_vocab_size"].map((name) => args.value(name))
  if (!own || typeof size !== "number" || typeof padding !== "number" || typeof stored === "number") return []
  const multiple = padding * (typeof tp === "number" ? tp : 1)
  if (multiple <= 0) return []
  const padded = Math.ceil(size / multiple) * multiple
  return own.shape[0] === padded ? [] : [{ tensor: own.name, text: `vocab_size ${size}, padded to a multiple of make_vocab_size_divisible_by × tensor_model_parallel_size, makes ${padded}, ${own.name} is [${own.shape.join(", ")}]` }]
}

/** Only decoders of text are described by the arguments alone. */
const isLanguage = (tensors: ReadonlyArray<ShapedTensor>): boolean => tensors.some(({ name }) => DECODER.test(name))

/** What of the arguments the tensors contradict. */
export const examineArguments = (args: TrainingArguments, tensors: ReadonlyArray<ShapedTensor>): ReadonlyArray<Diagnosis> => {
  const { problem, provider } = describedRun(args)
  if (!provider) return [diagnosis("warning", "arguments", `the arguments of the run do not describe its model: ${problem}`, { fix: "--hf-model names a model of the same layers where a command asks for one." })]
  if (!isLanguage(tensors)) return []
  const fields = new ModelFields(provider.fields)
  const hybrid = fields.text("hybrid_layer_pattern") !== undefined
  const wrong = [
    ...(hybrid ? [] : counted("num_layers", fields.number("num_layers"), storedLayers(tensors))),
    ...counted("num_experts", fields.number("num_moe_experts"), storedExperts(tensors)),
    ...sizes(tensors, fields),
    ...vocabulary(args, tensors),
    ...(hybrid ? [] : presences(tensors, fields, args))
  ]
  const unique = [...new Map(wrong.map((one) => [one.text, one])).values()]
  return unique.map(({ tensor, text }) =>
    diagnosis("error", "arguments-mismatch", `the run's arguments contradict the tensors: ${text}`, {
      fix: "The tensors are what there is: give a trainer arguments that fit them, and do not start it with --use-checkpoint-args.",
      names: [tensor]
    }))
}
