/** What of a Megatron-LM run's arguments another layout changes: what the trainer itself would have put there. Pure. */
import type { ModuleParallelism, PipelineSplit } from "../parallel/ModuleParallelism.ts"
import { rankCount } from "../parallel/ModuleParallelism.ts"
import { parsePipelineLayout } from "../parallel/PipelineLayout.ts"
import type { Changes } from "../torch/ArchiveEdit.ts"
import type { TrainingArguments } from "../arguments/TrainingArguments.ts"

export interface ArgumentFacts {
  readonly hasExperts: boolean
  readonly numLayers: number
  /** What the checkpoint still holds. */
  readonly optimizer: boolean
  /** Undefined: what the run says of it stays. */
  readonly rng: boolean | undefined
  /** The optimizer's state became one that any layout can load. */
  readonly fullyReshardable: boolean
}

const pipelineFields = ({ embeddingAsStage, firstStageLayers, lastStageLayers, layout, lossAsStage }: PipelineSplit) => ({
  decoder_first_pipeline_num_layers: firstStageLayers ?? null,
  decoder_last_pipeline_num_layers: lastStageLayers ?? null,
  account_for_embedding_in_pipeline_split: embeddingAsStage ?? false,
  account_for_loss_in_pipeline_split: lossAsStage ?? false,
  ...(layout === undefined ? { pipeline_model_parallel_layout: null } : { pipeline_model_parallel_layout: layout })
})

/** Chunks per rank; 1 without virtual stages. */
const virtualStagesOf = ({ pipeline, pp }: ModuleParallelism): number =>
  pipeline?.virtualStages ?? (pipeline?.layout === undefined ? 1 : parsePipelineLayout(pipeline.layout).length / pp)

/** Only arguments that the run has, and only those that change. `layout`: undefined where it stays. */
export const argumentChanges = (args: TrainingArguments, layout: ModuleParallelism | undefined, facts: ArgumentFacts): Changes => {
  const wanted: Record<string, null | boolean | number | string> = {
    ...(layout ? sizes(layout, facts) : {}),
    ...(facts.optimizer ? {} : { no_save_optim: true }),
    ...(facts.rng === undefined ? {} : { no_save_rng: !facts.rng }),
    ...(facts.fullyReshardable ? { dist_ckpt_optim_fully_reshardable: true } : {})
  }
  return new Map(Object.entries(wanted).filter(([name, value]) => args.has(name) && args.value(name) !== value))
}

const sizes = (layout: ModuleParallelism, { hasExperts, numLayers }: ArgumentFacts) => {
  const { cp, dp, ep, etp, pipeline = {}, pp, tp } = layout
  const virtual = virtualStagesOf(layout)
  // Without experts the trainer lets their tensor parallelism follow that of the model.
  const experts = hasExperts ? etp : tp
  return {
    tensor_model_parallel_size: tp,
    pipeline_model_parallel_size: pp,
    transformer_pipeline_model_parallel_size: pp,
    virtual_pipeline_model_parallel_size: virtual === 1 ? null : virtual,
    num_virtual_stages_per_pipeline_rank: virtual === 1 || pipeline.layout !== undefined ? null : virtual,
    num_layers_per_virtual_pipeline_stage: null,
    context_parallel_size: cp,
    expert_model_parallel_size: ep,
    expert_tensor_parallel_size: experts,
    tensor_parallel_num_weight_shards: tp,
    expert_tensor_parallel_num_weight_shards: experts,
    data_parallel_size: dp,
    world_size: rankCount(layout),
    inprocess_active_world_size: rankCount(layout),
    ...(tp === 1 ? { sequence_parallel: false } : {}),
    ...(numLayers > 0 ? pipelineFields(pipeline) : {})
  }
}
