/**
 * The model of a Megatron-LM run as a trainer's provider describes it: the class that builds it and its fields. From here on a
 * checkpoint without `run_config.yaml` is one with it.
 */
import { FormatError, Unsupported } from "../errors.ts"
import { GPT_PROVIDER, HYBRID_PROVIDER, MLA_PROVIDER } from "../runconfig/classes.ts"
import { float, type Provider, pythonName, type PythonValue } from "../runconfig/Provider.ts"
import { PyFloat } from "../torch/PyValue.ts"
import { ACTIVATIONS, EARLIER, type Part, RENAMED, SAME } from "./names.ts"
import { perLayerValue } from "./perLayer.ts"
import type { ArgumentValue, TrainingArguments } from "./TrainingArguments.ts"

/** The value of an argument by its newest name or an earlier one. */
const valueOf = (args: TrainingArguments, name: string): ArgumentValue | undefined => {
  const own = args.value(name)
  if (own !== undefined && own !== null) return own
  const earlier = EARLIER[name]?.find((other) => args.has(other))
  return earlier === undefined ? own : args.value(earlier)
}

const isOn = (args: TrainingArguments, name: string): boolean => args.flag(name) ?? false

/** The model has Mamba layers, or is spelled out layer by layer. */
export const isHybrid = (args: TrainingArguments): boolean =>
  typeof valueOf(args, "hybrid_layer_pattern") === "string" || isOn(args, "is_hybrid_model")

const variant = (args: TrainingArguments): string | undefined => args.text("experimental_attention_variant")

const APPLIES: Readonly<Record<Part, (args: TrainingArguments) => boolean>> = {
  all: () => true,
  gpt: (args) => !isHybrid(args),
  experts: (args) => (args.number("num_experts") ?? 0) > 0,
  latent: (args) => isOn(args, "multi_latent_attention"),
  linear: (args) => /^(gdn|gated_delta_net)/.test(variant(args) ?? ""),
  sparse: (args) => variant(args) === "dsa",
  hybrid: isHybrid,
  mtp: (args) => (args.number("mtp_num_layers") ?? 0) > 0,
  yarn: (args) => args.text("position_embedding_type") === "yarn" && !isOn(args, "multi_latent_attention") && !isHybrid(args)
}

/** Undefined for the member of an enumeration, which no field here is. */
const asField = (value: ArgumentValue): PythonValue | undefined => {
  if (value instanceof PyFloat) return float(value.value)
  if (value === null || typeof value !== "object") return value
  if ("name" in value) return pythonName(value.name)
  if ("enumeration" in value) return undefined
  const items = value.map(asField)
  return items.every((item) => item !== undefined) ? items : undefined
}

/** Lists of layers may be expressions. */
const PER_LAYER: ReadonlySet<string> = new Set(["moe_layer_freq", "linear_attention_freq"])

const field = (args: TrainingArguments, argument: string): PythonValue | undefined => {
  if (PER_LAYER.has(argument)) return perLayerValue(args, argument)
  const value = valueOf(args, argument)
  return value === undefined ? undefined : asField(value)
}

const named = (args: TrainingArguments): Record<string, PythonValue> => {
  const fields: Record<string, PythonValue> = {}
  const set = (name: string, value: PythonValue | undefined) => {
    if (value !== undefined) fields[name] = value
  }
  for (const { names, part } of SAME) if (APPLIES[part](args)) for (const name of names) set(name, field(args, name))
  for (const { argument, field: name, negated, part } of RENAMED) {
    if (!APPLIES[part](args)) continue
    const value = field(args, argument)
    set(name, negated && typeof value === "boolean" ? !value : value)
  }
  return fields
}

const required = (args: TrainingArguments, name: string): number => {
  const value = args.number(name)
  if (value === undefined || !Number.isInteger(value) || value < 1) throw new FormatError("arguments/missing", "the model cannot be described without this argument", { field: `args.${name}` })
  return value
}

/** What several arguments say together, or what one stands for where it is None. */
const derived = (args: TrainingArguments): Record<string, PythonValue> => {
  const [hidden, heads] = [required(args, "hidden_size"), required(args, "num_attention_heads")]
  const chosen = ACTIVATIONS.find(({ flag }) => flag === undefined || isOn(args, flag))!
  const ffn = args.number("ffn_hidden_size") ?? 4 * hidden
  return {
    num_query_groups: (isOn(args, "group_query_attention") ? args.number("num_query_groups") : undefined) ?? heads,
    kv_channels: args.number("kv_channels") ?? Math.floor(hidden / heads),
    ffn_hidden_size: ffn,
    ...(APPLIES.experts(args) ? { moe_ffn_hidden_size: args.number("moe_ffn_hidden_size") ?? ffn } : {}),
    add_bias_linear: args.flag("add_bias_linear") ?? !isOn(args, "disable_bias_linear"),
    position_embedding_type: args.flag("use_rotary_position_embeddings") ? "rope" : args.text("position_embedding_type") ?? "learned_absolute",
    gated_linear_unit: chosen.gated ?? false,
    activation_func: pythonName(chosen.field),
    ...(args.text("fp8") === undefined ? {} : { fp8: args.text("fp8")! })
  }
}

/** Fields that are there only where they say something: trainers of some age do not know them, and None is no value of some. */
const UNSAID: Readonly<Record<string, PythonValue>> = {
  rope_type: null, virtual_pipeline_model_parallel_size: null, mscale: null, mscale_all_dim: null, rope_scaling_factor: 8,
  use_mup: false, mup_width_mult: 1, mup_embedding_mult: 1, mup_output_mult: 1, mup_attn_scale_power: 1, glu_linear_offset: 0, activation_func_clamp_value: null,
  window_attn_skip_freq: null, no_rope_freq: null, softmax_type: "vanilla", attention_output_gate: false, qk_l2_norm: false, experimental_attention_variant: null,
  moe_latent_size: null, moe_shared_expert_gate: false, moe_apply_probs_on_input: false, mtp_use_repeated_layer: false
}

const isUnsaid = (name: string, value: PythonValue): boolean => {
  const plain = typeof value === "object" && value !== null && "$float" in value ? value.$float : value
  return name in UNSAID && UNSAID[name] === plain
}

const targetOf = (args: TrainingArguments): string =>
  APPLIES.hybrid(args) ? HYBRID_PROVIDER : APPLIES.latent(args) ? MLA_PROVIDER : GPT_PROVIDER

/** Layers of a class that is somebody's own, and layers that differ in ways that no field says. */
const refuseOthers = (args: TrainingArguments): void => {
  const spec = args.value("spec")
  if (Array.isArray(spec) && spec.length > 0 && !APPLIES.hybrid(args)) {
    throw new Unsupported({ code: "unsupported/layer-spec", what: "args.spec", problem: `the run built its layers by a specification of its own (${spec.map(String).join(" ")}), which the arguments do not describe`, hint: "--hf-model names a model of the same layers." })
  }
  if (args.text("heterogeneous_layers_config_encoded_json") !== undefined) {
    throw new Unsupported({ code: "unsupported/layer-spec", what: "args.heterogeneous_layers_config_encoded_json", problem: "the layers differ from each other as a file of the run says, for which there is no provider of the trainer", hint: "--hf-model names a model of the same layers." })
  }
}

/**
 * The provider of a run's model. Its vocabulary is the padded one, as many rows as are stored.
 *
 * @throws FormatError (`arguments/missing`, `arguments/value`), Unsupported (`unsupported/layer-spec`)
 */
export const providerOfArguments = (args: TrainingArguments): Provider => {
  refuseOthers(args)
  const fields = Object.entries({ ...named(args), ...derived(args) }).filter(([name, value]) => !isUnsaid(name, value))
  return { target: targetOf(args), fields: Object.fromEntries(fields) }
}
