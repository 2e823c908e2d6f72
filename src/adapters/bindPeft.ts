/** The adapters of a `peft` directory bound to the matrices of a base model: each with its rank, its scale and where its elements lie. Pure. */
import type { BoundParameter } from "../bridge/Conversion.ts"
import { InvalidFile, PlanRefused, quote } from "../errors.ts"
import { sameShape } from "../tensor/Copy.ts"
import { isWeightDType } from "../arithmetic/Arithmetic.ts"
import { type Factor, factorsOf, type HfMatrix, isLinearWeight } from "./factors.ts"
import { modulePattern } from "./ModulePattern.ts"
import type { PeftConfig } from "./peftConfig.ts"
import type { PeftDirectory, PeftMatrices } from "./PeftDirectory.ts"
import { type InputAxis, type PeftPair, peftPair, type PeftTarget, PREFIX, targetOf } from "./peftPair.ts"

/** The adapter of one HF tensor. */
export interface BoundAdapter extends PeftTarget {
  /** Of the base model. */
  readonly tensor: string
  readonly rank: number
  /** What `B·A` is multiplied by. */
  readonly scale: number
  readonly matrices: PeftMatrices
  /** Where the adapter of one of its matrices lies. */
  readonly pairOf: (matrix: HfMatrix) => PeftPair
}

const tested = new WeakMap<ReadonlyMap<string, number>, ReadonlyArray<readonly [matches: (path: string) => boolean, value: number]>>()

const testsOf = (patterns: ReadonlyMap<string, number>) => {
  const made = tested.get(patterns) ?? Array.from(patterns, ([pattern, value]) => [modulePattern(pattern), value] as const)
  tested.set(patterns, made)
  return made
}

/** The value of the first of the patterns that a path ends with, as `peft` matches them. FormatError `adapter/pattern`. */
export const patterned = (patterns: ReadonlyMap<string, number>, path: string, usual: number): number =>
  testsOf(patterns).find(([matches]) => matches(path))?.[1] ?? usual

/** What the `B·A` of a module is multiplied by. */
export const scaleOf = (path: string, config: PeftConfig, rank: number): number =>
  patterned(config.alphaPattern, path, config.alpha) / (config.rankStabilised ? Math.sqrt(rank) : rank)

/** What names of one model may differ in: the language model of a larger one stands at several places. */
const bare = (path: string): string => path.replace(/^(?:(?:model|language_model)\.)+/, "")

/** A path as the base model has it: itself, or the only one that differs in its first names. */
const finderOf = <T>(targets: ReadonlyMap<string, T>) => {
  const byBare = Map.groupBy(targets.keys(), bare)
  return (path: string): T | undefined => {
    const own = targets.get(path)
    if (own !== undefined) return own
    const alike = byBare.get(bare(path)) ?? []
    return alike.length === 1 ? targets.get(alike[0]!) : undefined
  }
}

/** The matrices of a model by HF tensor; of packed experts one stands for all. */
export const matricesOf = (parameters: ReadonlyArray<BoundParameter>): ReadonlyMap<string, HfMatrix> => {
  const matrices = new Map<string, HfMatrix>()
  for (const factor of parameters.filter(isLinearWeight).flatMap((bound): ReadonlyArray<Factor> => factorsOf(bound))) {
    if (!matrices.has(factor.matrix.tensor)) matrices.set(factor.matrix.tensor, factor.matrix)
  }
  return matrices
}

/** The parameter that a wrapper is for: those of one module are nested, the first by name outermost. */
export const wrapped = (module: string, parameters: ReadonlyArray<string>): string | undefined => {
  const [, parent, nesting] = /^(.*?)((?:\.base_layer)*)$/.exec(module)!
  const own = parameters.filter((path) => path.slice(0, path.lastIndexOf(".")) === parent || bare(path.slice(0, path.lastIndexOf("."))) === bare(parent!)).sort()
  return own[nesting!.length / ".base_layer".length]
}

const unknownModules = (names: ReadonlyArray<string>, directory: string): PlanRefused =>
  new PlanRefused({
    code: "adapter/module",
    problem: `${names.length} module${names.length === 1 ? "" : "s"} of the adapter in ${quote(directory)} ${names.length === 1 ? "is" : "are"} not in the base model, or no linear layer${names.length === 1 ? "" : "s"} of it`,
    names,
    hint: "Does --hf-model name the model that the adapter was trained on?"
  })

/** Whether the shapes are those of this matrix, of this rank. */
const fits = ({ a, b, magnitude }: PeftMatrices, pair: PeftPair): boolean => {
  const own = new Map([[pair.input.tensor, pair.input.shape], [pair.output.tensor, pair.output.shape]])
  return [...own].every(([name, shape]) => sameShape((name.endsWith("lora_A.weight") ? a : b).shape, shape)) &&
    (magnitude === undefined || (pair.magnitude !== undefined && magnitude.shape.reduce((n, extent) => n * extent, 1) === pair.magnitude.shape[0]))
}

/** The pair of a matrix with the tensors that the directory has it in. */
const inDirectory = (pair: PeftPair, { a, b, magnitude }: PeftMatrices): PeftPair => {
  const nameOf = (name: string): string => (name.endsWith("lora_A.weight") ? a : b).name
  return {
    input: { ...pair.input, tensor: nameOf(pair.input.tensor) },
    output: { ...pair.output, tensor: nameOf(pair.output.tensor) },
    ...(pair.magnitude && magnitude ? { magnitude: { ...pair.magnitude, tensor: magnitude.name } } : {})
  }
}

const boundTo = (matrix: HfMatrix, target: PeftTarget, matrices: PeftMatrices, { config, directory }: PeftDirectory, inputAxis: InputAxis): BoundAdapter => {
  const rank = matrices.a.shape[0]! / (matrix.expert?.of ?? 1)
  const pairOf = (own: HfMatrix, axis: InputAxis): PeftPair => peftPair(own, PREFIX + target.path, rank, axis)
  // What the other reading would have is told by shapes, unless the matrix is square.
  const axis = [inputAxis, inputAxis === "last" ? "first" as const : "last" as const].find((a) => Number.isInteger(rank) && fits(matrices, pairOf(matrix, a)))
  if (axis === undefined) {
    throw new InvalidFile({
      path: directory,
      code: "adapter/shape",
      problem: `lora_A [${matrices.a.shape}] and lora_B [${matrices.b.shape}] do not fit ${quote(matrix.tensor)} [${matrix.shape}] of the base model`,
      place: { tensor: matrices.a.name }
    })
  }
  const wrong = [matrices.a, matrices.b, ...(matrices.magnitude ? [matrices.magnitude] : [])].find(({ dtype }) => !isWeightDType(dtype))
  if (wrong) throw new InvalidFile({ path: directory, code: "adapter/dtype", problem: `is ${wrong.dtype}: an adapter has values of 16 or 32 bits`, place: { tensor: wrong.name } })
  return { ...target, tensor: matrix.tensor, rank, scale: scaleOf(target.path, config, rank), matrices, pairOf: (own) => inDirectory(pairOf(own, axis), matrices) }
}

/**
 * Bind every adapter of a directory. `axisOf`: how `peft` takes a parameter's tensor. PlanRefused `adapter/module`; InvalidFile
 * `adapter/shape`, `adapter/dtype`.
 */
export const bindPeft = (peft: PeftDirectory, base: ReadonlyMap<string, HfMatrix>, axisOf: (tensor: string) => InputAxis): ReadonlyMap<string, BoundAdapter> => {
  const targets = [...base.values()].map((matrix) => ({ matrix, target: targetOf(matrix) }))
  const modules = finderOf(new Map(targets.filter(({ target }) => target.kind === "module").map((t) => [t.target.path, t])))
  const parameters = new Map(targets.filter(({ target }) => target.kind === "parameter").map((t) => [t.target.path, t]))
  const named = [...parameters.keys()].filter((path) => peft.config.targetParameters.some((end) => path === end || path.endsWith(`.${end}`)))
  const bound = new Map<string, BoundAdapter>()
  const unknown: Array<string> = []
  for (const [path, matrices] of peft.modules) {
    const parameter = wrapped(path, named)
    const found = modules(path) ?? (parameter === undefined ? undefined : parameters.get(parameter))
    if (found) bound.set(found.matrix.tensor, boundTo(found.matrix, found.target, matrices, peft, axisOf(found.matrix.tensor)))
    else unknown.push(path)
  }
  if (unknown.length > 0) throw unknownModules(unknown, peft.directory)
  return bound
}
