/**
 * `run_config.yaml`: from its `model` section the trainer rebuilds the model (torch-dist-format.md F.4). Written in the style
 * of PyYAML's safe_dump: block style, sorted keys, YAML 1.1 floats (`1.0e-06`; `1e-6` would read back as a string).
 */
import { Document, isMap, Pair, Scalar, YAMLMap, YAMLSeq } from "yaml"
import type { Float, Provider, PythonName, PythonObject, PythonValue } from "../bridge/Provider.ts"
import type { LayoutComponent } from "../parallel/Layout.ts"
import { pythonObject } from "../bridge/Provider.ts"

/** Python's `repr` of a float as PyYAML prints it: always with a point, exponents with a sign and two digits. */
export const pythonFloat = (value: number): string => {
  if (Number.isNaN(value)) return ".nan"
  if (!Number.isFinite(value)) return value > 0 ? ".inf" : "-.inf"
  const magnitude = Math.abs(value)
  if (magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e16)) {
    const [mantissa, exponent] = value.toExponential().split("e") as [string, string]
    const digits = exponent.slice(1).padStart(2, "0")
    return `${mantissa.includes(".") ? mantissa : `${mantissa}.0`}e${exponent[0]}${digits}`
  }
  return Number.isInteger(value) ? `${value}.0` : String(value)
}

const isFloat = (v: PythonValue): v is Float => typeof v === "object" && v !== null && "$float" in v
const isName = (v: PythonValue): v is PythonName => typeof v === "object" && v !== null && "$name" in v
const isObject = (v: PythonValue): v is PythonObject => typeof v === "object" && v !== null && "$class" in v

/** Carries its own text through the YAML library, which would print numbers its own way. */
class FloatText {
  readonly text: string
  constructor(value: number) {
    this.text = pythonFloat(value)
  }
}

const floatTag = {
  tag: "tag:yaml.org,2002:float",
  default: true as const,
  identify: (value: unknown) => value instanceof FloatText,
  resolve: (text: string) => text,
  test: /^$/,
  stringify: (item: Scalar) => (item.value as FloatText).text
}

const node = (value: PythonValue): Scalar | YAMLMap | YAMLSeq => {
  if (value === null || typeof value === "boolean" || typeof value === "string") return new Scalar(value)
  if (typeof value === "number") return new Scalar(Number.isInteger(value) ? value : new FloatText(value))
  if (isFloat(value)) return new Scalar(new FloatText(value.$float))
  if (isName(value)) return mapping({ _call_: false, _target_: value.$name })
  if (isObject(value)) return mapping({ ...value.fields, _target_: value.$class })
  if (Array.isArray(value)) {
    const seq = new YAMLSeq()
    seq.items = (value as ReadonlyArray<PythonValue>).map(node)
    if (seq.items.length === 0) seq.flow = true
    return seq
  }
  return mapping(value as { readonly [field: string]: PythonValue })
}

const mapping = (fields: { readonly [field: string]: PythonValue }): YAMLMap => {
  const map = new YAMLMap()
  map.items = Object.keys(fields).sort().map((key) => new Pair(new Scalar(key), node(fields[key]!)))
  if (map.items.length === 0) map.flow = true
  return map
}

export const toYaml = (value: PythonValue): string => {
  const document = new Document(undefined, { version: "1.1", customTags: (tags) => [floatTag, ...tags] })
  document.contents = node(value) as never
  if (!isMap(document.contents)) throw new RangeError("a run configuration is a mapping")
  return document.toString({ lineWidth: 0, indentSeq: false, directives: false, nullStr: "null" })
}

const MIMO = "megatron.bridge.models.megatron_mimo"

const modelSection = (provider: Provider, layout: ReadonlyArray<LayoutComponent>, form: "mimo" | "standard"): PythonValue => {
  const standard = layout[0]!.parallelism
  if (form === "standard") {
    return pythonObject(provider.target, {
      ...provider.fields,
      tensor_model_parallel_size: standard.tp,
      pipeline_model_parallel_size: standard.pp,
      context_parallel_size: standard.cp,
      expert_model_parallel_size: standard.ep,
      expert_tensor_parallel_size: standard.etp
    })
  }
  return pythonObject(`${MIMO}.megatron_mimo_provider.MegatronMIMOProvider`, {
    // The MIMO model has no multi-token-prediction module.
    standard_provider: pythonObject(provider.target, { ...provider.fields, mtp_num_layers: null }),
    megatron_mimo_parallelism_config: pythonObject(`${MIMO}.megatron_mimo_config.MegatronMIMOParallelismConfig`, {
      module_parallelisms: Object.fromEntries(layout.map(({ name, parallelism: p }) => [
        name,
        pythonObject(`${MIMO}.megatron_mimo_config.ModuleParallelismConfig`, {
          tensor_model_parallel_size: p.tp,
          pipeline_model_parallel_size: p.pp,
          context_parallel_size: p.cp,
          expert_model_parallel_size: p.ep,
          expert_tensor_parallel_size: p.etp,
          data_parallel_size: p.dp,
          rank_offset: p.rankOffset
        })
      ])),
      special_token_ids: {}
    }),
    // Derived by the trainer from the standard provider; the reference writes them empty too.
    language_model_spec: null,
    modality_submodules_spec: {},
    special_token_ids: {},
    bf16: provider.fields["bf16"] ?? true,
    fp16: provider.fields["fp16"] ?? false
  })
}

/**
 * The text of `run_config.yaml` for a freshly converted model. Besides `model`, only the fields that a resuming trainer
 * indexes without a default are written (`BR:training/checkpointing.py` 2822-2890).
 */
export const runConfig = (
  provider: Provider,
  layout: ReadonlyArray<LayoutComponent>,
  form: "mimo" | "standard"
): string =>
  toYaml(pythonObject("megatron.bridge.training.config.ConfigContainer", {
    model: modelSection(provider, layout, form),
    checkpoint: pythonObject("megatron.bridge.training.config.CheckpointConfig", {
      ckpt_format: "torch_dist",
      fully_parallel_save: false,
      save_optim: false,
      save_rng: false
    }),
    tokenizer: pythonObject("megatron.bridge.training.tokenizers.config.TokenizerConfig", {
      tokenizer_type: "HuggingFaceTokenizer"
    })
  }))

