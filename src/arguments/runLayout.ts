/** The parallel layout of the run that wrote a checkpoint, from its arguments. */
import { FormatError } from "../errors.ts"
import { MAX_RANKS, type ModuleParallelism, type PipelineSplit } from "../parallel/ModuleParallelism.ts"
import { parsePipelineLayout } from "../parallel/PipelineLayout.ts"
import type { TrainingArguments } from "./TrainingArguments.ts"

/** How a run divided its model and its ranks. */
export interface RunLayout {
  readonly parallelism: ModuleParallelism
  /** Chunks of the model on every pipeline rank; 1 without virtual stages. */
  readonly virtualStages: number
  /** Data parallelism varies fastest of all in front of the pipeline (`--use-tp-pp-dp-mapping`), or (the default) after it. */
  readonly pipelineBeforeData: boolean
  readonly worldSize: number
}

const size = (args: TrainingArguments, name: string, absent = 1): number => {
  const found = args.number(name) ?? absent
  if (!Number.isInteger(found) || found < 1 || found > MAX_RANKS) throw new FormatError("arguments/value", `${found} is no number of ranks`, { field: `args.${name}` })
  return found
}

const split = (args: TrainingArguments): PipelineSplit => {
  const first = args.number("decoder_first_pipeline_num_layers")
  const last = args.number("decoder_last_pipeline_num_layers")
  const layout = layoutText(args)
  return {
    ...(first === undefined ? {} : { firstStageLayers: first }),
    ...(last === undefined ? {} : { lastStageLayers: last }),
    ...(args.flag("account_for_embedding_in_pipeline_split") ? { embeddingAsStage: true } : {}),
    ...(args.flag("account_for_loss_in_pipeline_split") ? { lossAsStage: true } : {}),
    ...(layout === undefined ? {} : { layout })
  }
}

const LETTERS: Readonly<Record<string, string>> = { embedding: "E", decoder: "t", mtp: "m", loss: "L" }

/** A string as the command line took it, or a list of stages, each a list of names. */
const layoutText = (args: TrainingArguments): string | undefined => {
  const value = args.value("pipeline_model_parallel_layout")
  if (value === undefined || value === null) return undefined
  if (typeof value === "string") return value
  const stages = Array.isArray(value) ? value.map((stage) => (Array.isArray(stage) ? stage.map((name) => LETTERS[String(name)] ?? "?").join("") : "?")) : ["?"]
  if (stages.some((stage) => stage.includes("?"))) throw new FormatError("arguments/value", "the layout is neither a string nor a list of stages", { field: "args.pipeline_model_parallel_layout" })
  return stages.join("|")
}

/** Chunks per rank: as a number of chunks, or as layers in each of them. */
const virtualStages = (args: TrainingArguments, pp: number, layout: string | undefined): number => {
  if (layout !== undefined) return Math.max(1, parsePipelineLayout(layout).length / pp)
  const given = args.number("virtual_pipeline_model_parallel_size") ?? args.number("num_virtual_stages_per_pipeline_rank")
  if (given !== undefined) return Math.max(1, given)
  const [each, layers] = [args.number("num_layers_per_virtual_pipeline_stage"), args.number("num_layers")]
  return each === undefined || layers === undefined ? 1 : Math.max(1, layers / pp / each)
}

/** FormatError `arguments/value` for sizes that are none; UsageError for a layout string that is none. */
export const runLayout = (args: TrainingArguments): RunLayout => {
  const pipeline = split(args)
  const [tp, pp, cp] = [size(args, "tensor_model_parallel_size", args.number("model_parallel_size")), size(args, "pipeline_model_parallel_size"), size(args, "context_parallel_size")]
  const worldSize = size(args, "world_size", tp * pp * cp)
  const dp = size(args, "data_parallel_size", Math.max(1, Math.floor(worldSize / (tp * pp * cp))))
  const parallelism = { tp, pp, dp, cp, ep: size(args, "expert_model_parallel_size"), etp: size(args, "expert_tensor_parallel_size", tp), rankOffset: 0 }
  return {
    parallelism: { ...parallelism, ...(Object.keys(pipeline).length > 0 ? { pipeline } : {}) },
    virtualStages: virtualStages(args, pp, pipeline.layout),
    pipelineBeforeData: args.flag("use_tp_pp_dp_mapping") ?? false,
    worldSize
  }
}
