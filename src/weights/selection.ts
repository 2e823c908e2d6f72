/** Which tensors of a model are streamed, and in which order. Pure. */
import type { TargetArray } from "../engine/index.ts"
import { quote, UsageError } from "../errors.ts"
import { matchesStars } from "../plan/match.ts"
import { bytesOfTensor } from "../space/TensorSpace.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import type { WeightConversionTask } from "./tasks.ts"

/** A Hugging Face tensor that can be assembled. */
export interface SelectableTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  /** Global names of the parameters that it is made of; none: it travels beside the model. */
  readonly parameters: ReadonlyArray<string>
  readonly array: () => TargetArray
}

/** A tensor in its place in a stream. */
export interface SelectedTensor extends SelectableTensor {
  readonly bytes: number
  /** Tasks that it is done with; of a tensor beside the model there are none. */
  readonly tasks: ReadonlyArray<WeightConversionTask>
}

/** Which tensors are wanted. */
export interface WeightSelection {
  /** Patterns of names; `*` stands for anything. */
  readonly tensors?: ReadonlyArray<string>
  readonly components?: ReadonlyArray<string>
  /** Only what the ranks of this stage of the pipeline have the last parameter of. */
  readonly ppRank?: number
  /** Leave out what is made of frozen parameters alone. */
  readonly trainableOnly?: boolean
  /** Begin with the tensor of this name, as a stream that was cut short goes on. */
  readonly from?: string
}

/**
 * Tensors in the order of `tasks`: each when its last parameter has come; those beside the model come last, as they are given.
 *
 * @throws UsageError for a pattern or a component that matches nothing, a stage that there is not, a name to begin with that is not selected
 */
export const selectTensors = (all: Iterable<SelectableTensor>, tasks: ReadonlyArray<WeightConversionTask>, selection: WeightSelection): ReadonlyArray<SelectedTensor> => {
  const places = new Map(tasks.map((task, place) => [task.globalParamName, { task, place }]))
  const placed = Array.from(all, (tensor, given) => {
    const own = tensor.parameters.flatMap((name) => places.get(name) ?? [])
    const last = own.reduce((latest, { place }) => Math.max(latest, place), own.length === 0 ? Infinity : -1)
    return { tensor, given, last, own: own.toSorted((a, b) => a.place - b.place).map(({ task }) => task) }
  }).sort((a, b) => (a.last === b.last ? a.given - b.given : a.last - b.last))
  const { components, from, ppRank, tensors: patterns, trainableOnly = false } = selection
  const idle = patterns?.find((pattern) => !placed.some(({ tensor }) => matchesStars(pattern, tensor.name)))
  if (idle !== undefined) throw new UsageError({ problem: `no tensor matches ${quote(idle)}` })
  const known = new Set(tasks.map(({ component }) => component))
  const unknown = components?.find((name) => !known.has(name))
  if (unknown !== undefined) throw new UsageError({ problem: `there is no component ${quote(unknown)}`, hint: `Components: ${[...known].join(", ")}.` })
  if (ppRank !== undefined && !tasks.some((task) => task.ppRank === ppRank)) throw new UsageError({ problem: `no parameter is on stage ${ppRank} of the pipeline` })
  const chosen = placed.filter(({ own, tensor }) => {
    const task = own.at(-1)
    return (patterns === undefined || patterns.some((pattern) => matchesStars(pattern, tensor.name))) &&
      (components === undefined || (task !== undefined && components.includes(task.component))) &&
      (ppRank === undefined || task?.ppRank === ppRank) &&
      !(trainableOnly && task !== undefined && own.every(({ trainable }) => !trainable))
  }).map(({ own, tensor }): SelectedTensor => ({ ...tensor, bytes: bytesOfTensor(tensor.dtype, tensor.shape), tasks: own }))
  if (from === undefined) return chosen
  const begin = chosen.findIndex(({ name }) => name === from)
  if (begin < 0) throw new UsageError({ problem: `the stream has no tensor ${quote(from)} to begin with` })
  return chosen.slice(begin)
}
