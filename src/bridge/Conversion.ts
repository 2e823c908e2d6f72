/**
 * Binding a model description to its two tensor spaces. A conversion consists of modules: one for a standard model, one per
 * component for MIMO. A module has its own entries, its own registry and a prefix for its stored keys; the mapping kinds and
 * rows are the same in both cases.
 */
import { PlanRefused } from "../errors.ts"
import { coverage, type Coverage, type CoveredView } from "../tensor/Coverage.ts"
import { type Copy, sameShape, type Shape } from "../tensor/Copy.ts"
import type { Model, ModuleState, Parameter } from "../model/Parameter.ts"
import type { ExpectedTensor } from "./Mapping.ts"
import type { MappingRegistry } from "./Registry.ts"

export interface ConversionModule {
  /** Component name; `model` for a standard conversion. */
  readonly name: string
  /** Prepended to every stored key; empty or ending in a dot. */
  readonly keyPrefix: string
  /** Entries with module-local names and keys. */
  readonly entries: Model
  readonly registry: MappingRegistry
}

/** A parameter with what it is made of. Copies run from HF tensors to `parameter.name`, in elements of the whole parameter. */
export interface BoundParameter {
  readonly module: ConversionModule
  readonly parameter: Parameter
  readonly tensors: ReadonlyArray<BoundTensor>
  readonly copies: ReadonlyArray<Copy>
  /** Mapping kind, for plans. */
  readonly kind: string
  /** The value of all its elements, of which no HF tensor knows. */
  readonly constant?: number
}

export interface BoundState {
  readonly module: ConversionModule
  readonly state: ModuleState
}

/** An HF tensor that the model is made of. */
export interface BoundTensor extends ExpectedTensor {
  readonly mtp: boolean
  /** Several parameters have parts of it. */
  readonly shared: boolean
}

/** The two spaces and the copies between them. */
export interface Conversion {
  readonly parameters: ReadonlyArray<BoundParameter>
  readonly states: ReadonlyArray<BoundState>
  /** By name. */
  readonly hf: ReadonlyMap<string, BoundTensor>
}

/** Bind every entry of the modules; a parameter without a row, or two rows that disagree about a tensor, is refused. */
export const bind = (modules: ReadonlyArray<ConversionModule>): Conversion => {
  const parameters: Array<BoundParameter> = []
  const states: Array<BoundState> = []
  const hf = new Map<string, BoundTensor & { shared: boolean }>()
  const unmapped: Array<string> = []
  const contradictions: Array<string> = []
  for (const module of modules) {
    for (const entry of module.entries) {
      if (entry.kind === "state") {
        states.push({ module, state: entry })
        continue
      }
      const relation = module.registry.relate(entry)
      if (!relation) {
        unmapped.push(module.keyPrefix + entry.name)
        continue
      }
      const tensors = relation.tensors.map(({ name, shape }): BoundTensor => {
        const known = hf.get(name)
        if (!known) {
          const own = { name, shape, mtp: entry.mtp === true, shared: false }
          hf.set(name, own)
          return own
        }
        known.shared = true
        if (!sameShape(known.shape, shape)) contradictions.push(`${name} ([${known.shape}] or [${shape}])`)
        return known
      })
      const { constant, name: kind } = relation.match.row.kind
      parameters.push({ module, parameter: entry, tensors, copies: relation.copies, kind, ...(constant === undefined ? {} : { constant }) })
    }
  }
  if (unmapped.length > 0) {
    throw new PlanRefused({
      code: "plan/parameter-without-row",
      problem: "the model has parameters that no mapping row names",
      names: unmapped,
      hint: "The family file lacks their rows; nothing can fill them."
    })
  }
  if (contradictions.length > 0) {
    throw new PlanRefused({ code: "plan/contradicting-rows", problem: "mapping rows disagree about the shape of HF tensors", names: contradictions })
  }
  return { parameters, states, hf }
}

const explain = (name: string, shape: Shape, found: Exclude<Coverage, { kind: "exact" }>): string =>
  found.kind === "hole"
    ? `${name} [${shape}] element ${found.element} is used by nothing`
    : `${name} [${shape}] element ${found.element} is used twice${found.labels.length ? ` (${found.labels.join(" and ")})` : ""}`

/** Every element of every parameter and of every HF tensor is covered by exactly one copy; otherwise {@link PlanRefused}. */
export const checkCoverage = (conversion: Conversion): void => {
  const wrong: Array<string> = []
  const wrongTensors: Array<string> = []
  const check = (name: string, shape: Shape, pieces: ReadonlyArray<CoveredView>, into: Array<string>): void => {
    const found = coverage(shape, pieces)
    if (found.kind !== "exact") into.push(explain(name, shape, found))
  }
  const shared = new Map<BoundTensor, Array<CoveredView>>()
  for (const { copies, module, parameter, tensors } of conversion.parameters) {
    check(parameter.name, parameter.shape, copies.map(({ shape, source, target }) => ({ shape, view: target, label: source.tensor })), wrong)
    const label = module.keyPrefix + parameter.name
    for (const tensor of new Set(tensors)) {
      const pieces = copies.filter(({ echo, source }) => !echo && source.tensor === tensor.name).map(({ shape, source }) => ({ shape, view: source, label }))
      const known = shared.get(tensor)
      if (!tensor.shared) check(tensor.name, tensor.shape, pieces, wrongTensors)
      else if (known) known.push(...pieces)
      else shared.set(tensor, pieces)
    }
  }
  for (const [{ name, shape }, pieces] of shared) check(name, shape, pieces, wrongTensors)
  wrong.push(...wrongTensors)
  if (wrong.length > 0) {
    throw new PlanRefused({ code: "plan/coverage", problem: "the mapping does not account for every byte exactly once", names: wrong })
  }
}
