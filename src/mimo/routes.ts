/**
 * MIMO routing. A component's parameters are the standard model's below its source prefix; stripping the prefix from entries
 * and rows gives a route-local model and registry, on which the standard mapping kinds work unchanged. The stored keys carry
 * the component's target module path instead (torch-dist-format.md F.1).
 */
import type { Component } from "../bridge/Component.ts"
import type { ConversionModule } from "../bridge/Conversion.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import { MappingRegistry } from "../bridge/Registry.ts"
import { PlanRefused, Unsupported } from "../errors.ts"
import type { Entry } from "../model/Parameter.ts"

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
  for (const c of components) {
    if (!c.sourcePrefix.endsWith(".")) refuse(`the source prefix of ${c.name} must end in a dot`, [c.sourcePrefix])
    const modality = /^modality_submodules\.([^.]+)\./.exec(c.targetModulePath)?.[1]
    if (modality !== undefined && modality !== c.name) refuse(`component ${c.name} is routed to another modality`, [c.targetModulePath])
    for (const other of components) {
      if (other === c) continue
      if (other.sourcePrefix.startsWith(c.sourcePrefix)) refuse("source prefixes contain one another", [c.sourcePrefix, other.sourcePrefix])
      if (`${other.targetModulePath}.`.startsWith(`${c.targetModulePath}.`)) {
        refuse("target module paths contain one another", [c.targetModulePath, other.targetModulePath])
      }
    }
  }
}

const strip = (entry: Entry, prefix: string): Entry =>
  entry.kind === "state"
    ? { ...entry, key: entry.key.slice(prefix.length) }
    : {
      ...entry,
      name: entry.name.slice(prefix.length),
      parts: entry.parts.map((part) => ({ ...part, key: part.key.slice(prefix.length) }))
    }

const keyOf = (entry: Entry): string => (entry.kind === "state" ? entry.key : entry.name)

/** One conversion module per component. Every entry of the model must belong to exactly one of them. */
export const routeModules = (description: ModelDescription): ReadonlyArray<ConversionModule> => {
  const { components, model } = description
  if (components.length === 0) {
    throw new Unsupported({ what: "MIMO", problem: "this model has a single component; convert it with `--standard`" })
  }
  validateRouteTable(components)
  const homeless = model.map(keyOf).filter((key) => !components.some((c) => key.startsWith(c.sourcePrefix)))
  if (homeless.length > 0) refuse("parameters below no component's source prefix", homeless)
  const registry = new MappingRegistry(description.rows)
  return components.map((component) => ({
    name: component.name,
    keyPrefix: `${component.targetModulePath}.`,
    entries: model
      .filter((entry) => keyOf(entry).startsWith(component.sourcePrefix))
      .map((entry) => strip(entry, component.sourcePrefix)),
    registry: registry.strip(component.sourcePrefix)
  }))
}

/** The standard model as a single module. */
export const standardModules = (description: ModelDescription): ReadonlyArray<ConversionModule> => [
  { name: "model", keyPrefix: "", entries: description.model, registry: new MappingRegistry(description.rows) }
]
