/** A component's layout as the fields of the reference's ModuleParallelismConfig. */
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"

export const componentParallelism = (p: ModuleParallelism): Readonly<Record<string, unknown>> => ({
  _target_: "megatron.bridge.models.megatron_mimo.megatron_mimo_config.ModuleParallelismConfig",
  tensor_model_parallel_size: p.tp,
  pipeline_model_parallel_size: p.pp,
  context_parallel_size: p.cp,
  expert_model_parallel_size: p.ep,
  expert_tensor_parallel_size: p.etp,
  data_parallel_size: p.dp,
  rank_offset: p.rankOffset
})
