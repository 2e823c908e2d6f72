/** The fields of a run configuration that say how a module is cut over ranks: written, read and edited by this one list. */
import type { LayoutComponent } from "../parallel/Layout.ts"
import type { ModuleParallelism, ParallelSizes, PipelineSplit } from "../parallel/ModuleParallelism.ts"
import { MIMO_PARALLELISM, MODULE_PARALLELISM } from "./classes.ts"
import { type PythonObject, pythonObject, type PythonValue } from "./Provider.ts"
import { numberAt, type RunConfigMap } from "./RunConfigFile.ts"

/** Sizes of the model's own configuration class. */
const SIZES = {
  tp: "tensor_model_parallel_size",
  pp: "pipeline_model_parallel_size",
  cp: "context_parallel_size",
  ep: "expert_model_parallel_size",
  etp: "expert_tensor_parallel_size"
} as const satisfies Partial<Record<keyof ParallelSizes, string>>

/** Of a MIMO component, which also says its ranks. */
const COMPONENT = { ...SIZES, dp: "data_parallel_size", rankOffset: "rank_offset" } as const satisfies Record<keyof ParallelSizes, string>

/** An uneven pipeline, among the fields of the (standard) provider: a MIMO component has none of them. */
const PIPELINE = {
  firstStageLayers: "num_layers_in_first_pipeline_stage",
  lastStageLayers: "num_layers_in_last_pipeline_stage",
  embeddingAsStage: "account_for_embedding_in_pipeline_split",
  lossAsStage: "account_for_loss_in_pipeline_split",
  layout: "pipeline_model_parallel_layout",
  virtualStages: "virtual_pipeline_model_parallel_size"
} as const satisfies Record<keyof PipelineSplit, string>

/** All fields that say something of an uneven pipeline. */
export const PIPELINE_FIELDS: ReadonlyArray<string> = Object.values(PIPELINE)

/** The component that the standard provider itself describes. */
export const LANGUAGE = "language"

/** A resuming trainer indexes these without a default (Megatron-Bridge 0.7, training/checkpointing.py). */
export const REQUIRED_SIZES: ReadonlyArray<string> = [SIZES.tp, SIZES.pp]

const fields = (names: Partial<Record<keyof ParallelSizes, string>>, parallelism: ModuleParallelism): Record<string, number> =>
  Object.fromEntries(Object.entries(names).map(([key, field]) => [field, parallelism[key as keyof ParallelSizes]]))

/** Sizes among the fields of a standard model's provider. */
export const modelParallelism = (parallelism: ModuleParallelism): Readonly<Record<string, PythonValue>> =>
  ({ ...fields(SIZES, parallelism), ...pipelineFields(parallelism) })

/** What the trainer must be told of an uneven pipeline; nothing of an even one. */
const pipelineFields = ({ pipeline }: ModuleParallelism): Readonly<Record<string, PythonValue>> =>
  Object.fromEntries(Object.entries(pipeline ?? {}).map(([key, value]) => [PIPELINE[key as keyof PipelineSplit], value]))

/** Of MIMO components: fields of the standard provider, as only the language model can have them. */
export const componentPipelineFields = (components: ReadonlyArray<LayoutComponent>): Readonly<Record<string, PythonValue>> =>
  Object.fromEntries(components.flatMap(({ parallelism }) => Object.entries(pipelineFields(parallelism))))

/** The layout of all components, as the MIMO provider holds it. */
export const mimoParallelism = (components: ReadonlyArray<LayoutComponent>): PythonObject =>
  pythonObject(MIMO_PARALLELISM, {
    module_parallelisms: Object.fromEntries(components.map(({ name, parallelism }) => [name, pythonObject(MODULE_PARALLELISM, fields(COMPONENT, parallelism))])),
    special_token_ids: {}
  })

/** What a section says; a size that it does not name is 1. */
export const readParallelism = (from: RunConfigMap): ModuleParallelism => {
  const size = (key: keyof ParallelSizes, absent = 1) => numberAt(from, COMPONENT[key]) ?? absent
  return { tp: size("tp"), pp: size("pp"), dp: size("dp"), cp: size("cp"), ep: size("ep"), etp: size("etp"), rankOffset: size("rankOffset", 0) }
}
