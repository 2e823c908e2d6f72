/** What the arguments of a run, kept in every rank's file, say of its ranks (training-checkpoints.md 3.2). Pure. */
import type { PyRead } from "../../torch/PyValue.ts"
import { numberOf } from "./RankArchive.ts"
import type { RankSizes } from "./rankFolders.ts"

export type RunArguments = ReadonlyMap<string, PyRead>

const sizeOf = (args: RunArguments, name: string, otherwise: number): number => {
  const size = numberOf(args.get(name))
  return size !== undefined && Number.isSafeInteger(size) && size > 0 ? size : otherwise
}

export const rankSizes = (args: RunArguments): RankSizes => {
  const tp = sizeOf(args, "tensor_model_parallel_size", 1)
  return { tp, pp: sizeOf(args, "pipeline_model_parallel_size", 1), ep: sizeOf(args, "expert_model_parallel_size", 1), etp: sizeOf(args, "expert_tensor_parallel_size", tp) }
}

/** The output layer is the embedding; the last stage of a pipeline has a copy. */
export const isTied = (args: RunArguments): boolean => args.get("untie_embeddings_and_output_weights") === false

/** Experts in some layers only, layers of several kinds or sizes: the trainer keeps every layer's number in its keys. */
export const keepsLayerNumbers = (args: RunArguments): boolean => {
  const varies = (name: string): boolean => {
    const value = args.get(name)
    return Array.isArray(value) || typeof value === "string" || (numberOf(value) ?? 1) > 1
  }
  const said = (name: string): boolean => (args.get(name) ?? null) !== null
  return varies("moe_layer_freq") || varies("linear_attention_freq") || said("heterogeneous_layers_config_path") || said("heterogeneous_layers_config_encoded_json") ||
    said("hybrid_layer_pattern") || said("hybrid_override_pattern") || args.get("hetereogenous_dist_checkpoint") === true
}

/** Sizes that the assembled tensors must have. Undefined: not said. */
export const saidSizes = (args: RunArguments) => ({
  layers: numberOf(args.get("num_layers")),
  paddedVocabulary: numberOf(args.get("padded_vocab_size")),
  hidden: numberOf(args.get("hidden_size")),
  experts: numberOf(args.get("num_experts"))
})

/** Fewer key/value groups than tensor-parallel ranks: every rank holds copies of some. */
export const repeatsGroups = (args: RunArguments, { tp }: RankSizes): boolean =>
  args.get("group_query_attention") === true && (numberOf(args.get("num_query_groups")) ?? tp) < tp
