/** What `--to bridge` and `--to megatron-lm` write around the tensors, and what they leave behind. */
import { argumentsOfProvider } from "../arguments/fromProvider.ts"
import { isHybrid, providerOfArguments } from "../arguments/providerFields.ts"
import { runLayout } from "../arguments/runLayout.ts"
import type { TrainingArguments } from "../arguments/TrainingArguments.ts"
import { RUN_CONFIG, TRACKER, TRAIN_STATE } from "../checkpoint/names.ts"
import type { NamedBytes } from "../checkpoint/folder.ts"
import type { LayerSpec } from "../model/layerSpec.ts"
import { roleOf } from "../model/storedKey.ts"
import { freshRunConfig, type SavedState } from "../runconfig/freshRunConfig.ts"
import { type Provider, pythonPartial, type PythonValue } from "../runconfig/Provider.ts"
import { numberAt, providerOf, type RunConfigMap, sectionAt, textAt } from "../runconfig/RunConfigFile.ts"
import type { Shape } from "../tensor/Copy.ts"
import { PickleList, type PickleObject, type PickleValue } from "../torch/PickleValue.ts"
import type { TrainState } from "../torch/TrainState.ts"
import type { Draft } from "./Draft.ts"
import type { RelabelTo } from "./rules/index.ts"

/** What a checkpoint shows of the run that wrote it. */
export interface RunFacts {
  readonly args: TrainingArguments | undefined
  readonly runConfig: RunConfigMap | undefined
  readonly trainState: TrainState
}

export interface TrainerForm {
  /** Text of a new run_config.yaml. */
  readonly runConfig?: string
  /** New arguments of the common state. */
  readonly args?: PickleObject
  /** Files of the folder that the trainer does not know. */
  readonly dropped: ReadonlySet<string>
  readonly trackers: (all: ReadonlyArray<NamedBytes>) => ReadonlyArray<NamedBytes>
  readonly notes: ReadonlyArray<string>
}

const SAME: TrainerForm = { dropped: new Set(), trackers: (all) => all, notes: [] }

const SPECS = "megatron.core.models.gpt"

/** How the trainer is to build the layers; undefined: as its class does it. */
const layerSpecField = (args: TrainingArguments, spec: LayerSpec, { fields }: Provider): PythonValue | undefined => {
  if (isHybrid(args)) return undefined
  if (typeof fields["experimental_attention_variant"] === "string") return pythonPartial(`${SPECS}.experimental_attention_variant_module_specs.get_transformer_block_with_experimental_attention_variant_spec`, {})
  if (spec === "te" && !fields["num_moe_experts"]) return undefined
  return pythonPartial(`${SPECS}.gpt_layer_specs.get_gpt_decoder_block_spec`, {
    use_transformer_engine: spec === "te",
    // Local norms are of the kind that is named here, not of the configuration's.
    ...(spec === "local" ? { normalization: fields["normalization"] ?? "LayerNorm" } : {})
  })
}

const specOf = (to: ReadonlyArray<RelabelTo>, args: TrainingArguments): LayerSpec => {
  const asked = to.findLast((naming) => naming === "te-spec" || naming === "local-spec")
  return asked === undefined ? (args.text("transformer_impl") === "local" ? "local" : "te") : asked === "te-spec" ? "te" : "local"
}

/** A run says where its tokenizer is; a path means nothing to others, but its run needs it. */
const tokenizerOf = (args: TrainingArguments): SavedState["tokenizer"] => {
  const [type, model] = [args.text("tokenizer_type"), args.text("tokenizer_model")]
  return { tokenizer_type: type ?? "HuggingFaceTokenizer", ...(model === undefined ? {} : { tokenizer_model: model }) }
}

const holds = (draft: Draft, role: "optimizer" | "rng"): boolean =>
  Iterator.from([...draft.tensors.keys(), ...draft.objects.keys()]).some((key) => roleOf(key) === role)

const forBridge = (draft: Draft, to: ReadonlyArray<RelabelTo>, args: TrainingArguments): TrainerForm => {
  const spec = specOf(to, args)
  const provider = providerOfArguments(args)
  const layers = layerSpecField(args, spec, provider)
  const described: Provider = { ...provider, fields: { ...provider.fields, ...(layers === undefined ? {} : { transformer_layer_spec: layers }) } }
  const saved: SavedState = {
    optimizer: holds(draft, "optimizer"),
    rng: holds(draft, "rng"),
    fullyParallel: args.flag("ckpt_fully_parallel_save") ?? false,
    tokenizer: tokenizerOf(args)
  }
  return {
    ...SAME,
    runConfig: freshRunConfig(described, [{ name: "model", parallelism: runLayout(args).parallelism }], "standard", { saved }),
    notes: [
      "run_config.yaml was made from the arguments of the run, which stay in the common state",
      ...(spec === "local" ? ["it builds the layers by Megatron-Core's local specification, as the run did; --to te-spec before --to bridge asks for Transformer Engine's"] : [])
    ]
  }
}

const embeddingRows = (draft: Draft): number | undefined => {
  const shape: Shape | undefined = draft.tensors.get("embedding.word_embeddings.weight")?.shape
  return shape?.[0]
}

const isLocal = (section: RunConfigMap): boolean => {
  const spec = section["transformer_layer_spec"]
  const found = typeof spec === "object" && spec !== null ? spec as RunConfigMap : {}
  return found["use_transformer_engine"] === false || (textAt(found, "_target_") ?? "").includes("local")
}

const HYBRID_SPEC = ["megatron.core.models.hybrid.hybrid_layer_specs", "hybrid_stack_spec"]

const listOf = (values: ReadonlyArray<PickleValue>): PickleList => {
  const list = new PickleList()
  list.extend([...values])
  return list
}

/** What a run says beside its model. */
const beside = (draft: Draft, config: RunConfigMap, section: RunConfigMap, state: TrainState): ReadonlyMap<string, PickleValue> => {
  const [tokenizer, checkpoint] = [sectionAt(config, "tokenizer"), sectionAt(config, "checkpoint")]
  const sizes = ["tensor_model_parallel_size", "pipeline_model_parallel_size", "context_parallel_size"].map((name) => numberAt(section, name) ?? 1)
  const [optimizer, rng] = [holds(draft, "optimizer"), holds(draft, "rng")]
  const rows = embeddingRows(draft)
  return new Map<string, PickleValue>([
    ["padded_vocab_size", rows ?? numberAt(section, "vocab_size") ?? null],
    ["vocab_size", numberAt(section, "vocab_size") ?? null],
    ["seq_length", numberAt(section, "seq_length") ?? null],
    ["transformer_impl", isLocal(section) ? "local" : "transformer_engine"],
    ["spec", typeof section["hybrid_layer_pattern"] === "string" ? listOf(HYBRID_SPEC) : null],
    ["iteration", state.step],
    ["consumed_train_samples", state.consumedTrainSamples],
    ["skipped_train_samples", state.skippedTrainSamples],
    ["consumed_valid_samples", state.consumedValidSamples],
    ["ckpt_format", "torch_dist"],
    ["use_dist_ckpt", true],
    ["ckpt_fully_parallel_save", checkpoint?.["fully_parallel_save"] === true],
    ["use_distributed_optimizer", optimizer],
    ["no_save_optim", optimizer ? null : true],
    ["no_save_rng", rng ? null : true],
    ["world_size", sizes.reduce((a, b) => a * b, 1)],
    ["data_parallel_size", 1],
    ["tokenizer_type", textAt(tokenizer, "tokenizer_type") ?? null],
    ["tokenizer_model", textAt(tokenizer, "tokenizer_model") ?? null]
  ])
}

const forMegatronLm = (draft: Draft, { args, runConfig, trainState }: RunFacts): TrainerForm => {
  const section = runConfig && providerOf(runConfig)
  return {
    dropped: new Set([RUN_CONFIG, TRAIN_STATE]),
    trackers: (all) => all.filter(([name]) => name === TRACKER),
    ...(args || !section ? {} : { args: argumentsOfProvider(section, beside(draft, runConfig!, section, trainState)) }),
    notes: [args ? "the arguments of the run are in the common state as they were" : "the arguments of a run were made from run_config.yaml; --use-checkpoint-args takes them"]
  }
}

/** For namings that go with a trainer. FormatError, Unsupported: the arguments describe no model. */
export const trainerForm = (draft: Draft, to: ReadonlyArray<RelabelTo>, run: RunFacts): TrainerForm => {
  const trainer = to.findLast((naming) => naming === "bridge" || naming === "megatron-lm")
  if (trainer === "megatron-lm") return forMegatronLm(draft, run)
  return trainer === "bridge" && run.args ? forBridge(draft, to, run.args) : SAME
}

/** The train state of a run that keeps it in its arguments. */
export const trainStateOfArguments = (args: TrainingArguments, state: TrainState): TrainState => ({
  ...state,
  consumedTrainSamples: args.number("consumed_train_samples") ?? 0,
  skippedTrainSamples: args.number("skipped_train_samples") ?? 0,
  consumedValidSamples: args.number("consumed_valid_samples") ?? 0
})
