/**
 * MIMO routing. A component's parameters are the standard model's below its source prefix; stripping the prefix from entries
 * and rows gives a route-local model and registry, on which the standard mapping kinds work unchanged. The stored keys carry
 * the component's target module path instead (torch-dist-format.md F.1).
 */
import type { Component, Route } from "../bridge/Component.ts"
import type { ConversionModule } from "../bridge/Conversion.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import { MappingRegistry } from "../bridge/Registry.ts"
import { PlanRefused, Unsupported } from "../errors.ts"
import type { Entry } from "../model/Parameter.ts"
import { reroot } from "../model/reroot.ts"
import { componentOf, routesOf } from "./routing.ts"

const refuse = (problem: string, names: ReadonlyArray<string>): never => {
  throw new PlanRefused({ code: "mimo/route-table", problem, names })
}

/**
 * The rules of a route table: unique names, source prefixes that end in a dot and do not contain one another, target module
 * paths that do not contain one another, a `language` component, modality paths that name their component.
 */
export const validateRouteTable = (components: ReadonlyArray<Component>): void => {
  const names = components.map((c) => c.name)
  if (new Set(names).size !== names.length) refuse("two components have one name", names)
  if (!names.includes("language")) refuse("there is no component `language` among", names)
  const routes = components.flatMap((component) => routesOf(component).map(({ sourcePrefix, targetModulePath }) => ({ sourcePrefix, targetModulePath, component })))
  for (const { component, sourcePrefix, targetModulePath } of routes) {
    if (!sourcePrefix.endsWith(".")) refuse(`the source prefix of ${component.name} must end in a dot`, [sourcePrefix])
    const modality = /^modality_submodules\.([^.]+)\./.exec(targetModulePath)?.[1]
    if (modality !== undefined && modality !== component.name) refuse(`component ${component.name} is routed to another modality`, [targetModulePath])
    for (const other of routes) {
      if (other.sourcePrefix === sourcePrefix && other.component === component) continue
      if (other.sourcePrefix.startsWith(sourcePrefix)) refuse("source prefixes contain one another", [sourcePrefix, other.sourcePrefix])
      if (other.component !== component && `${other.targetModulePath}.`.startsWith(`${targetModulePath}.`)) {
        refuse("target module paths contain one another", [targetModulePath, other.targetModulePath])
      }
    }
  }
}

/** The module path that all routes of a component have in common, ending in a dot. */
const commonPath = (routes: ReadonlyArray<Route>): string => {
  const [first, ...rest] = routes.map((r) => r.targetModulePath.split("."))
  const same = first!.findIndex((part, i) => rest.some((other) => other[i] !== part))
  return `${(same === -1 ? first! : first!.slice(0, same)).join(".")}.`
}

const keyOf = (entry: Entry): string => (entry.kind === "state" ? entry.key : entry.name)

/** One conversion module per component. Every entry of the model must belong to exactly one of them. */
export const routeModules = (description: Pick<ModelDescription, "components" | "model" | "rows">): ReadonlyArray<ConversionModule> => {
  const { components, model } = description
  if (components.length === 0) {
    throw new Unsupported({ code: "unsupported/mimo", what: "MIMO", problem: "this model has a single component, so there is nothing to lay out apart", hint: "Convert it without --component, as a standard checkpoint (--tp, --pp … give its layout)." })
  }
  validateRouteTable(components)
  const homeless = model.map(keyOf).filter((key) => componentOf(components, "standard", key) === undefined)
  if (homeless.length > 0) refuse("parameters below no component's source prefix", homeless)
  const registry = new MappingRegistry(description.rows)
  return components.map((component) => {
    const routes = routesOf(component)
    const keyPrefix = commonPath(routes)
    /** What is left of a route's module path below the component's. */
    const below = (r: Route): string => `${r.targetModulePath}.`.slice(keyPrefix.length)
    return {
      name: component.name,
      keyPrefix,
      entries: model.flatMap((entry) => {
        const route = routes.find((r) => keyOf(entry).startsWith(r.sourcePrefix))
        return route ? [reroot(entry, route.sourcePrefix, below(route))] : []
      }),
      registry: new MappingRegistry(routes.flatMap((r) => registry.strip(r.sourcePrefix, below(r)).rows))
    }
  })
}

/** The standard model as a single module. */
export const standardModules = (description: Pick<ModelDescription, "model" | "rows">): ReadonlyArray<ConversionModule> => [
  { name: "model", keyPrefix: "", entries: description.model, registry: new MappingRegistry(description.rows) }
]
