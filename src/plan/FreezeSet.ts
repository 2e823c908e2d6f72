/**
 * What does not train, as a rule over parameters: parts of the model by name, or patterns. From it follow the tensors that are the same
 * in every later state, under each of the names that they have: in the files of Hugging Face, and as keys of either form.
 */
import { bind, type ConversionModule } from "../bridge/Conversion.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import { freezable, frozenParts, freezablePart } from "../cost/freezing.ts"
import { quote, UsageError } from "../errors.ts"
import { type Form, unroute } from "../mimo/routing.ts"
import type { Parameter } from "../model/Parameter.ts"
import { STANDARD_COMPONENT } from "../parallel/Layout.ts"
import { modulesOf } from "./describe.ts"
import { matchesStars } from "./match.ts"

/** What a hook of the trainer freezes as the router, in its layers; those of multi-token prediction train. */
const ROUTER = /(?:^|\.)mlp\.(?:router\.(?:weight|bias)|shared_experts\.gate_(?:weight|bias))$/
/** A buffer that the trainer itself moves, whatever is frozen. */
const MOVED = /(?:^|\.)router\.expert_bias$/

/** Is the parameter of this module frozen? */
export type IsFrozen = (module: Pick<ConversionModule, "keyPrefix">, parameter: Parameter) => boolean

const NEVER: IsFrozen = () => false

/** The part of every parameter, by its name in the standard form. */
const partsOf = ({ components, modules }: ModelDescription): ReadonlyMap<string, string> =>
  new Map(modules.flatMap(({ component, entries, kind }) => {
    const part = freezablePart({ component: components.length === 0 || component === undefined ? STANDARD_COMPONENT : component, module: kind })
    return entries.flatMap((entry) => (entry.kind === "parameter" ? [[entry.name, part] as const] : []))
  }))

/**
 * The rule for a model in one of its forms. Names are `router`, those of components (`language`, `images`), their projectors
 * (`images.projector`), `encoders` and `projections` for all of these, and patterns of parameters with a `*`
 * (`decoder.layers.0.*`).
 *
 * @throws UsageError for a part that the model does not have, a pattern that matches none of its parameters
 */
export const freezeSet = (description: ModelDescription, form: Form, names: ReadonlyArray<string>): IsFrozen => {
  if (names.length === 0) return NEVER
  const patterns = names.filter((name) => name.includes("*"))
  const parts = frozenParts(description, names.filter((name) => !name.includes("*")))
  const owners = partsOf(description)
  const standardName = (name: string): string => (form === "mimo" ? unroute(description.components, name)?.key ?? name : name)
  const all = modulesOf(form, description).flatMap(({ entries, keyPrefix }) => entries.flatMap((entry) => (entry.kind === "parameter" ? [keyPrefix + entry.name] : [])))
  for (const pattern of patterns) {
    if (all.some((name) => matchesStars(pattern, name) || matchesStars(pattern, standardName(name)))) continue
    throw new UsageError({ problem: `no parameter of the model matches ${quote(pattern)}`, hint: `Parts by name: ${freezable(description).join(", ")}.` })
  }
  return ({ keyPrefix }, { mtp, name }) => {
    const full = keyPrefix + name
    const own = standardName(full)
    if (patterns.some((pattern) => matchesStars(pattern, full) || matchesStars(pattern, own))) return true
    if (MOVED.test(own)) return false
    return parts.has(owners.get(own)!) || (parts.has("router") && !mtp && ROUTER.test(own))
  }
}

/** Tensors that a freeze set keeps as they are. */
export interface FrozenTensors {
  /** Names in Hugging Face files, and keys of checkpoints of both forms. */
  readonly names: ReadonlySet<string>
  /** Parameters of the model. */
  readonly parameters: number
}

/** A tensor is frozen if all that it is made of is. @throws UsageError as {@link freezeSet} */
export const frozenTensors = (description: ModelDescription, names: ReadonlyArray<string>): FrozenTensors => {
  const frozen = new Map<string, boolean>()
  const add = (name: string, is: boolean): void => { frozen.set(name, is && frozen.get(name) !== false) }
  let parameters = 0
  for (const form of description.components.length > 0 ? ["standard", "mimo"] as const : ["standard"] as const) {
    const isFrozen = freezeSet(description, form, names)
    for (const { module, parameter, tensors } of bind(modulesOf(form, description)).parameters) {
      const is = isFrozen(module, parameter)
      if (is && form === "standard") parameters++
      for (const { key } of parameter.parts) add(module.keyPrefix + key, is)
      for (const { name } of tensors) add(name, is)
    }
  }
  return { names: new Set(Iterator.from(frozen).filter(([, is]) => is).map(([name]) => name)), parameters }
}
