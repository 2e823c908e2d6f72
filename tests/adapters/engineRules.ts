/**
 * What `peft`, vLLM and SGLang ask of a directory with an adapter (adapters-and-assembly.md 1.3, 1.6), read from the files alone: names of modules
 * that the base has, targets that are exactly those, one pair for each, ranks that are said, nothing that an engine refuses.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { parseHeader } from "./header.ts"

interface Written {
  readonly r: number
  readonly rank_pattern: Readonly<Record<string, number>>
  readonly target_modules: ReadonlyArray<string>
  readonly target_parameters?: ReadonlyArray<string>
  readonly [field: string]: unknown
}

/** The largest of vLLM's `--max-lora-rank`. */
const LARGEST_RANK = 512
const FIXED = { peft_type: "LORA", bias: "none", modules_to_save: null, fan_in_fan_out: false, use_rslora: false, inference_mode: true, init_lora_weights: true }

const endsWith = (path: string, end: string): boolean => path === end || path.endsWith(`.${end}`)
const parentOf = (path: string): string => path.slice(0, path.lastIndexOf("."))

/** What breaks the rules; `base`: names of the base model's tensors. */
export const brokenRules = (directory: string, base: ReadonlySet<string>): ReadonlyArray<string> => {
  const config = JSON.parse(readFileSync(join(directory, "adapter_config.json"), "utf8")) as Written
  const shapes = new Map(parseHeader(readFileSync(join(directory, "adapter_model.safetensors"))).map(({ name, shape }) => [name, shape]))
  const { rank_pattern: patterns, target_modules: modules, target_parameters: parameters = [] } = config
  const broken = Object.entries(FIXED).flatMap(([field, value]) => (config[field] === value ? [] : [`${field} is ${String(config[field])}`]))
  if (parameters.length > 0 && config["lora_dropout"] !== 0) broken.push("dropout with target_parameters")
  const paths = new Set<string>()
  for (const [name, shape] of shapes) {
    const [, path, side] = /^base_model\.model\.(.+)\.lora_([AB])\.weight$/.exec(name) ?? []
    if (path === undefined) {
      broken.push(`${name} is no matrix of an adapter`)
      continue
    }
    paths.add(path)
    if (!shapes.has(name.replace(/lora_[AB]\.weight$/, side === "A" ? "lora_B.weight" : "lora_A.weight"))) broken.push(`${name} is alone`)
    const nested = path.replace(/(?:\.base_layer)+$/, "")
    const own = parameters.filter((parameter) => parentOf(parameter) === nested)
    const isParameter = own.some((parameter) => base.has(parameter))
    if (!isParameter && !base.has(`${path}.weight`)) broken.push(`${path} is no module of the base`)
    if (!isParameter && !modules.some((end) => endsWith(path, end))) broken.push(`${path} is no target`)
    if (isParameter) continue
    const rank = Object.entries(patterns).find(([end]) => endsWith(path, end))?.[1] ?? config.r
    if (shape[side === "A" ? 0 : 1] !== rank || shape.length !== 2) broken.push(`${name} [${shape.join()}] is not of rank ${rank}`)
    if (rank > LARGEST_RANK) broken.push(`${path} is of rank ${rank}`)
  }
  for (const end of modules) if (![...paths].some((path) => endsWith(path, end))) broken.push(`target ${end} has no matrices`)
  for (const module of base) {
    const path = module.replace(/\.weight$/, "")
    if (path !== module && modules.some((end) => endsWith(path, end)) && !paths.has(path)) broken.push(`${path} is targeted and has no matrices`)
  }
  for (const parameter of parameters) if (!base.has(parameter)) broken.push(`${parameter} is no parameter of the base`)
  const packed = [...paths].filter((path) => parameters.some((parameter) => parentOf(parameter) === path.replace(/(?:\.base_layer)+$/, ""))).length
  if (packed !== parameters.length) broken.push(`${packed} wrappers for ${parameters.length} parameters`)
  return broken
}
