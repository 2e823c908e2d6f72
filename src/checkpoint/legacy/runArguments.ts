/** What the arguments of a run, kept in every rank's file, say of its ranks and of the sizes of its model. */
import { perLayerValue } from "../../arguments/perLayer.ts"
import { isHybrid } from "../../arguments/providerFields.ts"
import { runLayout } from "../../arguments/runLayout.ts"
import type { TrainingArguments } from "../../arguments/TrainingArguments.ts"
import type { RankSizes } from "./rankFolders.ts"

/** FormatError `arguments/value`, UsageError. */
export const rankSizes = (args: TrainingArguments): RankSizes => {
  const { ep, etp, pp, tp } = runLayout(args).parallelism
  return { tp, pp, ep, etp }
}

/** The output layer is the embedding; the last stage of a pipeline has a copy. */
export const isTied = (args: TrainingArguments): boolean => args.flag("untie_embeddings_and_output_weights") === false

/** Experts in some layers only, layers of several kinds or sizes: the trainer keeps every layer's number in its keys. */
export const keepsLayerNumbers = (args: TrainingArguments): boolean => {
  const varies = (name: string): boolean => {
    const value = perLayerValue(args, name)
    return typeof value === "object" || (value ?? 1) > 1
  }
  return varies("moe_layer_freq") || varies("linear_attention_freq") || isHybrid(args) || args.text("heterogeneous_layers_config_encoded_json") !== undefined ||
    args.text("heterogeneous_layers_config_path") !== undefined || args.flag("hetereogenous_dist_checkpoint") === true
}

/** Sizes that the assembled tensors must have. Undefined: not said. */
export const saidSizes = (args: TrainingArguments) => ({
  layers: args.number("num_layers"),
  paddedVocabulary: args.number("padded_vocab_size"),
  hidden: args.number("hidden_size")
})

/** Fewer key/value groups than tensor-parallel ranks: every rank holds copies of some. */
export const repeatsGroups = (args: TrainingArguments, { tp }: RankSizes): boolean =>
  args.flag("group_query_attention") === true && (args.number("num_query_groups") ?? tp) < tp
