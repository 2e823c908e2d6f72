/**
 * What trains. A frozen part costs its forward pass, and where anything before it trains also the gradient of its input; nothing
 * before it trains: the forward pass alone.
 */
import type { ModelDescription } from "../bridge/Family.ts"
import { UsageError } from "../errors.ts"
import { LANGUAGE_COMPONENT } from "../parallel/LayoutRules.ts"
import type { WeightGroup } from "./weights.ts"

/** Parts that can be frozen: `language`, the tower of a component by the component's name, its projector as `NAME.projector`, `router`. */
export type Frozen = ReadonlySet<string>

/** The names that a model's parts can be frozen by. */
export const freezable = ({ components, modules }: ModelDescription): ReadonlyArray<string> => {
  const names = components.length === 0 ? [...new Set(modules.map((m) => (m.kind === "vision" ? "images" : m.kind === "audio" ? "audio" : LANGUAGE_COMPONENT)))] : components.map((c) => c.name)
  const projectors = modules.filter((m) => m.kind === "projector").map((m) => `${m.component === LANGUAGE_COMPONENT || m.component === undefined ? "images" : m.component}.projector`)
  const routers = modules.some((m) => m.blocks.some(({ block }) => block.kind === "experts")) ? ["router"] : []
  return [...new Set([...names, ...projectors, ...routers])]
}

const isProjector = (part: string): boolean => part.endsWith(".projector")

/** Words for several parts at once. */
const SEVERAL: Readonly<Record<string, (part: string) => boolean>> = {
  encoders: (part) => part !== LANGUAGE_COMPONENT && part !== "router" && !isProjector(part),
  projections: isProjector
}

/**
 * The parts that these names mean; `encoders` and `projections` stand for all there are.
 *
 * @throws UsageError for a part that the model does not have
 */
export const frozenParts = (description: ModelDescription, names: ReadonlyArray<string>): Frozen => {
  const known = freezable(description)
  const parts = names.flatMap((name) => {
    const several = Object.hasOwn(SEVERAL, name) ? known.filter(SEVERAL[name]!) : []
    return several.length > 0 ? several : [name]
  })
  for (const name of parts) {
    if (known.includes(name)) continue
    throw new UsageError({
      problem: `this model has no part ${name} to freeze`,
      hint: name.endsWith("projector") && known.includes(name.slice(0, -".projector".length))
        ? `its merger lies inside the tower: freezing ${name.slice(0, -".projector".length)} freezes both, and a projector flag has no effect`
        : `it has ${known.join(", ")}`
    })
  }
  return new Set(parts)
}

/** The part that a module belongs to, in either form. */
export const freezablePart = ({ component, module }: Pick<WeightGroup, "component" | "module">): string => {
  const own = component === "model" ? (module === "vision" ? "images" : module === "audio" ? "audio" : LANGUAGE_COMPONENT) : component
  if (module === "projector") return `${own === LANGUAGE_COMPONENT ? "images" : own}.projector`
  return module === "language" || module === "classifier" || module === "indexers" ? LANGUAGE_COMPONENT : own
}

/** How a group takes part in training. */
export type Role = "trained" | "frozen in the gradient's path" | "frozen before everything that trains"

export const trainingRole = (group: WeightGroup, frozen: Frozen): Role => {
  const name = freezablePart(group)
  if (!frozen.has(name)) return "trained"
  if (name === LANGUAGE_COMPONENT) return "frozen in the gradient's path"
  // A tower comes first; a projector is behind its tower.
  const tower = name.endsWith(".projector") ? name.slice(0, -".projector".length) : undefined
  return tower !== undefined && !frozen.has(tower) ? "frozen in the gradient's path" : "frozen before everything that trains"
}

/** Forward passes that the work of a part costs: its own, its input's gradient, its weights' gradient. */
export const PASSES: Readonly<Record<Role, number>> = { trained: 3, "frozen in the gradient's path": 2, "frozen before everything that trains": 1 }
