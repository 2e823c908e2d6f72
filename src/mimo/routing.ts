/**
 * Where a key of one form of a model stands in the other. In the standard form the keys of a component stand below its source
 * prefixes, in the MIMO form below its target module paths (torch-dist-format.md F.1); a component may have several of both.
 */
import type { Component, Route } from "../bridge/Component.ts"

export type Form = "mimo" | "standard"

/** The routes of a component: its own, then those beside it. */
export const routesOf = (component: Component): ReadonlyArray<Route> => (component.also ? [component, ...component.also] : [component])

/** What keys below a route begin with. */
export const prefixIn = (form: Form, { sourcePrefix, targetModulePath }: Route): string => (form === "mimo" ? `${targetModulePath}.` : sourcePrefix)

export interface Routed {
  readonly component: string
  /** The key in the other form. */
  readonly key: string
}

/** The component and the route that a key of this form belongs to. One route may lie within another of its component: the inner one wins. */
const place = (components: ReadonlyArray<Component>, form: Form, key: string): { readonly component: Component; readonly route: Route } | undefined => {
  let found: { readonly component: Component; readonly route: Route } | undefined
  let longest = -1
  for (const component of components) {
    for (const route of routesOf(component)) {
      const prefix = prefixIn(form, route)
      if (prefix.length <= longest || !key.startsWith(prefix)) continue
      found = { component, route }
      longest = prefix.length
    }
  }
  return found
}

const moved = (components: ReadonlyArray<Component>, from: Form, key: string): Routed | undefined => {
  const found = place(components, from, key)
  if (!found) return undefined
  const to = prefixIn(from === "mimo" ? "standard" : "mimo", found.route)
  return { component: found.component.name, key: to + key.slice(prefixIn(from, found.route).length) }
}

/** From the standard model's key to the MIMO model's; undefined for a key of no component. */
export const route = (components: ReadonlyArray<Component>, key: string): Routed | undefined => moved(components, "standard", key)

/** From the MIMO model's key to the standard model's. The opposite of {@link route}. */
export const unroute = (components: ReadonlyArray<Component>, key: string): Routed | undefined => moved(components, "mimo", key)

/** The name of the component that a key belongs to. */
export const componentOf = (components: ReadonlyArray<Component>, form: Form, key: string): string | undefined =>
  place(components, form, key)?.component.name
