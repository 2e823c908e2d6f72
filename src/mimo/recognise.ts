/**
 * Which components a checkpoint's model has, from what the checkpoint itself shows: the provider class of its run configuration,
 * and the keys of its tensors. Families share classes, and tensors of one family can fit another; what does not agree is
 * not chosen among.
 */
import type { Component } from "../bridge/Component.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { componentOf, type Form, prefixIn, routesOf } from "./routing.ts"

export interface CheckpointFacts {
  readonly form: Form
  /** Class of the standard provider, if a run configuration names one. */
  readonly provider?: string | undefined
  /** Keys of the model's tensors, without wrappers. */
  readonly keys: ReadonlyArray<string>
}

export interface Candidate {
  /** Families whose models are routed like this. */
  readonly families: ReadonlyArray<string>
  readonly components: ReadonlyArray<Component>
  /** Its family builds its models with the class that the run configuration names. */
  readonly byProvider: boolean
  /** Every route of these components has tensors. */
  readonly complete: boolean
}

/** The members that have it, or all if none has. */
const preferred = <A>(all: ReadonlyArray<A>, has: (a: A) => boolean): ReadonlyArray<A> => (all.some(has) ? all.filter(has) : all)

/** The routes of a table that these keys have, each with its component's name. */
const taken = (components: ReadonlyArray<Component>, { form, keys }: CheckpointFacts) => {
  const routes = components.flatMap((c) => routesOf(c).map(({ sourcePrefix, targetModulePath }) => ({ component: c.name, sourcePrefix, targetModulePath })))
  return { all: routes.length, used: routes.filter((route) => keys.some((key) => key.startsWith(prefixIn(form, route)))) }
}

/** As much of a route table as these keys have; undefined where a key has no place, or only one component has keys. */
const used = (components: ReadonlyArray<Component>, { form, keys }: CheckpointFacts): ReadonlyArray<Component> | undefined => {
  const seen = new Set<string>()
  for (const key of keys) {
    const name = componentOf(components, form, key)
    if (name === undefined) return undefined
    seen.add(name)
  }
  return seen.size > 1 ? components.filter((c) => seen.has(c.name)) : undefined
}

/**
 * Every way to route the tensors of a checkpoint that some family has; those of the families of its provider class if there are any,
 * and among them those with tensors below each of their prefixes. One candidate: that is what it is. Several: only its config.json
 * can tell.
 */
export const candidatesFor = (registry: FamilyRegistry, facts: CheckpointFacts): ReadonlyArray<Candidate> => {
  const found = new Map<string, Candidate>()
  for (const { mimo = [], name } of registry.families) {
    for (const { components, providers } of mimo) {
      const own = used(components, facts)
      if (!own) continue
      const byProvider = facts.provider !== undefined && providers.includes(facts.provider)
      const routes = taken(own, facts)
      // Two tables that route these keys alike are one.
      const key = JSON.stringify([byProvider, routes.used])
      const known = found.get(key)
      found.set(key, {
        components: own,
        byProvider,
        complete: known?.complete === true || routes.used.length === routes.all,
        families: [...new Set([...(known?.families ?? []), name])]
      })
    }
  }
  return preferred(preferred([...found.values()], (c) => c.byProvider), (c) => c.complete)
}

export type RecognisedComponents =
  | { readonly components: ReadonlyArray<Component>; readonly note?: string }
  | { readonly problem: string; readonly hint: string }

const UNKNOWN = "nothing says which parts of the model are components"
const HINT = "--hf-model DIR names the model's config.json"

/** The components of the model, none if it has a single one; or why they are not known. */
export const recogniseComponents = (registry: FamilyRegistry, facts: CheckpointFacts): RecognisedComponents => {
  const [found, ...others] = candidatesFor(registry, facts)
  if (found && others.length > 0) {
    const names = [...new Set([found, ...others].flatMap((c) => c.families))]
    return { problem: `${UNKNOWN}: its tensors fit the families ${names.join(", ")}, which name them differently`, hint: HINT }
  }
  if (found) {
    const { byProvider, components, families } = found
    return byProvider ? { components } : { components, note: `the model was taken for one of ${families.join(" or ")} by the names of its tensors alone; ${HINT}` }
  }
  const forms = registry.families.flatMap(({ mimo = [] }) => mimo)
  // The keys that have no place in it are for the caller to name.
  const ofProvider = forms.find(({ providers }) => facts.provider !== undefined && providers.includes(facts.provider))
  const some = (components: ReadonlyArray<Component>) => facts.keys.some((key) => componentOf(components, facts.form, key) !== undefined)
  if (ofProvider && some(ofProvider.components)) return { components: ofProvider.components }
  return forms.some(({ components }) => some(components)) ? { problem: UNKNOWN, hint: HINT } : { components: [] }
}
