/** Which tensors become FP8 codes and scales of blocks, and what config.json says of it then. Pure. */
import { quote, UsageError } from "../errors.ts"
import { matchesStars } from "../plan/match.ts"
import { blockwise } from "../quantized/BlockQuantizer.ts"
import { type BlockSize, DEFAULT_BLOCK } from "../quantized/QuantizationConfig.ts"
import type { IsFrozen } from "../plan/FreezeSet.ts"
import type { SelectedTensor } from "./selection.ts"
import type { PlacedTask } from "./tasks.ts"

/** FP8 E4M3 by blocks, as published checkpoints store it. */
export interface QuantizeChoice {
  /** Rows and columns that share a scale. Default 128×128. */
  readonly blockSize?: BlockSize
  /**
   * Patterns of the tensors that become codes. Default: those that the model's directory has as codes; of an unquantised one the matrices
   * of linear modules in the layers of the language model, experts with them, and no router, embedding or head.
   */
  readonly tensors?: ReadonlyArray<string>
  /** Patterns of tensors that stay as they are. */
  readonly except?: ReadonlyArray<string>
}

/** What decides where nobody names tensors. */
export interface QuantizeFacts {
  readonly isLanguage: IsFrozen
  readonly tasks: ReadonlyArray<PlacedTask>
  /** Names that the model's own directory has as codes. */
  readonly quantized: ReadonlyMap<string, unknown> | undefined
}

/** A module that multiplies by a matrix, by its name in Megatron. */
const LINEAR = /(?:^|\.)(?:linear_\w+|in_proj|out_proj)\.weight\d*$/

const any = (patterns: ReadonlyArray<string>, name: string): boolean => patterns.some((pattern) => matchesStars(pattern, name))

/** Block sizes of the tensors that become codes, by name. @throws UsageError for a pattern that matches none */
export const quantizable = (tensors: ReadonlyArray<SelectedTensor>, choice: QuantizeChoice | undefined, facts: QuantizeFacts): ReadonlyMap<string, BlockSize> => {
  if (choice === undefined) return new Map()
  const { blockSize = DEFAULT_BLOCK, except = [], tensors: wanted } = choice
  if (!blockSize.every((n) => Number.isSafeInteger(n) && n >= 1)) throw new UsageError({ problem: `${blockSize.join("×")} is no size of a block` })
  const idle = [...wanted ?? [], ...except].find((pattern) => !tensors.some(({ name }) => matchesStars(pattern, name)))
  if (idle !== undefined) throw new UsageError({ problem: `no tensor matches ${quote(idle)}` })
  const linear = new Set(facts.tasks.flatMap(({ bound: { module, parameter }, task }) =>
    typeof parameter.stage === "object" && LINEAR.test(parameter.name) && facts.isLanguage(module, parameter) ? [task.globalParamName] : []))
  const own = facts.quantized !== undefined && facts.quantized.size > 0 ? facts.quantized : undefined
  const isWanted = ({ name, parameters }: SelectedTensor): boolean =>
    wanted ? any(wanted, name) : own ? own.has(name) : parameters.length > 0 && parameters.every((parameter) => linear.has(parameter))
  const chosen = tensors.filter((tensor) => blockwise(tensor) && isWanted(tensor) && !any(except, tensor.name))
  return new Map(chosen.map(({ name }) => [name, blockSize]))
}

/** The section that config.json needs for such a stream. */
export const quantizationConfigOf = (names: ReadonlyArray<string>, blocks: ReadonlyMap<string, BlockSize>): Readonly<Record<string, unknown>> => ({
  quant_method: "fp8",
  fmt: "e4m3",
  activation_scheme: "dynamic",
  weight_block_size: [...blocks.values()][0] ?? DEFAULT_BLOCK,
  modules_to_not_convert: names.filter((name) => name.endsWith(".weight") && !blocks.has(name)).map((name) => name.slice(0, -".weight".length))
})
