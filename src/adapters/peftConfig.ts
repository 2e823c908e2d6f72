/** `adapter_config.json`, as `peft` writes and reads it. Foreign input: everything is checked before it is used. */
import { z } from "zod"
import { decodeWith } from "../document/decode.ts"
import { pythonJson } from "../document/PythonJson.ts"
import { type JsonTree, parseJson } from "../document/StrictJson.ts"
import { atPath } from "../document/decode.ts"
import { Unsupported } from "../errors.ts"
import { modulePattern } from "./ModulePattern.ts"
import { JsonFloat } from "../document/StrictJson.ts"

export const ADAPTER_CONFIG = "adapter_config.json"
export const ADAPTER_WEIGHTS = "adapter_model.safetensors"

/** Real ones have a few KB; those that list every module of a large model some hundred. */
export const LARGEST_ADAPTER_CONFIG = 4 << 20

/** What an adapter's configuration says that decides its values or its names. */
export interface PeftConfig {
  readonly rank: number
  readonly alpha: number
  readonly dropout: number
  readonly dora: boolean
  /** Scale `alpha / √rank` instead of `alpha / rank`. */
  readonly rankStabilised: boolean
  /** Ends of module paths, or one regular expression. */
  readonly targetModules: ReadonlyArray<string> | string
  readonly targetParameters: ReadonlyArray<string>
  /** By regular expressions that module paths end with. */
  readonly rankPattern: ReadonlyMap<string, number>
  readonly alphaPattern: ReadonlyMap<string, number>
  readonly base: string
}

const positive = z.number().int().min(1).max(65_536)
const amount = z.number().min(0).max(1e9)

const schema = z.object({
  peft_type: z.string(),
  r: positive.optional(),
  lora_alpha: amount.optional(),
  lora_dropout: z.number().min(0).max(1).nullish(),
  use_dora: z.boolean().nullish(),
  use_rslora: z.boolean().nullish(),
  bias: z.string().nullish(),
  fan_in_fan_out: z.boolean().nullish(),
  modules_to_save: z.array(z.string()).nullish(),
  target_modules: z.union([z.array(z.string()), z.string()]).nullish(),
  target_parameters: z.array(z.string()).nullish(),
  rank_pattern: z.record(z.string(), positive).nullish(),
  alpha_pattern: z.record(z.string(), amount).nullish(),
  base_model_name_or_path: z.string().nullish(),
  lora_bias: z.boolean().nullish(),
  layer_replication: z.unknown().optional(),
  trainable_token_indices: z.unknown().optional()
})

const refuse = (path: string, problem: string, hint?: string): never => {
  throw new Unsupported({ code: "unsupported/adapter", what: path, problem, ...(hint === undefined ? {} : { hint }) })
}

const present = (value: unknown): boolean => value !== undefined && value !== null && !(Array.isArray(value) && value.length === 0)

/** Read a configuration. InvalidFile for what is none; Unsupported `unsupported/adapter` for what has no place in a merge or a trainer. */
export const readPeftConfig = (path: string, bytes: Uint8Array): PeftConfig => {
  const own = decodeWith(schema, path, atPath(path, () => parseJson(bytes, { allowNonFinite: true }), bytes), bytes)
  if (own.peft_type !== "LORA") refuse(path, `the adapter is of type ${own.peft_type}; LORA (also as DoRA) is what is known here`)
  if (own.bias !== undefined && own.bias !== null && own.bias !== "none") refuse(path, `bias is "${own.bias}": trained biases have no place in an adapter of the trainer`, "Train with bias \"none\", or merge with peft first.")
  if (own.lora_bias) refuse(path, "lora_bias is set: B has a bias, which no trainer's adapter has")
  if (present(own.modules_to_save)) refuse(path, `modules_to_save (${own.modules_to_save!.join(", ")}) holds whole tensors, which an adapter checkpoint has no place for`, "Merge with peft first, and convert the model.")
  if (own.fan_in_fan_out) refuse(path, "fan_in_fan_out is set: the base stores its matrices the other way round")
  if (present(own.layer_replication)) refuse(path, "layer_replication makes another model of the base")
  if (present(own.trainable_token_indices)) refuse(path, "trainable_token_indices changes rows of the embedding, which an adapter checkpoint has no place for")
  atPath(path, () => { for (const pattern of Object.keys({ ...own.rank_pattern, ...own.alpha_pattern })) modulePattern(pattern) }, bytes)
  return {
    rank: own.r ?? 8,
    alpha: own.lora_alpha ?? 8,
    dropout: own.lora_dropout ?? 0,
    dora: own.use_dora ?? false,
    rankStabilised: own.use_rslora ?? false,
    targetModules: own.target_modules ?? [],
    targetParameters: own.target_parameters ?? [],
    rankPattern: new Map(Object.entries(own.rank_pattern ?? {})),
    alphaPattern: new Map(Object.entries(own.alpha_pattern ?? {})),
    base: own.base_model_name_or_path ?? ""
  }
}

/** A configuration to be written, with the fields and the order of the reference's (adapters-and-assembly.md 1.3). */
export const peftConfigBytes = (config: PeftConfig): Uint8Array => {
  const tree = new Map<string, JsonTree>([
    ["peft_type", "LORA"],
    ["auto_mapping", null],
    ["base_model_name_or_path", config.base],
    ["bias", "none"],
    ["fan_in_fan_out", false],
    ["inference_mode", true],
    ["init_lora_weights", true],
    ["lora_alpha", config.alpha],
    ["lora_dropout", Number.isInteger(config.dropout) ? new JsonFloat(config.dropout) : config.dropout],
    ["modules_to_save", null],
    ["r", config.rank],
    ["rank_pattern", new Map(config.rankPattern)],
    ["alpha_pattern", new Map(config.alphaPattern)],
    ["target_modules", config.targetModules],
    ["task_type", "CAUSAL_LM"],
    ["use_dora", config.dora],
    ["use_rslora", config.rankStabilised]
  ])
  if (config.targetParameters.length > 0) tree.set("target_parameters", config.targetParameters)
  return Buffer.from(pythonJson(tree))
}
