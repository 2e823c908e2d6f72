/**
 * Standard ↔ MIMO: the keys below a component's source prefixes carry its target module paths instead, and those of the component's
 * optimizer its name in front; nothing else changes (torch-dist-format.md F.1).
 */
import type { Component } from "../../bridge/Component.ts"
import { route, type Routed, unroute } from "../../mimo/routing.ts"
import { modalityOf, modelKeyOf, spaceOf, unwrapKey } from "../../model/storedKey.ts"
import { type Draft, modelKeys, moveKeys, noted } from "../Draft.ts"
import { few, noEquivalent, type Rule, type RuleContext } from "./Rule.ts"

const componentsOf = (to: string, { components }: RuleContext): ReadonlyArray<Component> =>
  "problem" in components ? noEquivalent(to, components.problem, components.hint) : components.components

const isMimo = (keys: ReadonlyArray<string>): boolean => keys.some((key) => modalityOf(key) !== undefined)

/** Keys of tensors and module states of the model that have no place in the other form. */
const homeless = (draft: Draft, place: (key: string) => Routed | undefined): ReadonlyArray<string> =>
  [...draft.tensors.keys(), ...draft.objects.keys()].filter((full) => {
    const own = modelKeyOf(full)
    return own !== undefined && place(unwrapKey(own.key)) === undefined
  })

const withNote = (draft: Draft, { components }: RuleContext): Draft => ("note" in components && components.note !== undefined ? noted(draft, components.note) : draft)

export const toMimo: Rule = (draft, context) => {
  const keys = modelKeys(draft)
  if (isMimo(keys)) return noEquivalent("mimo", "the checkpoint is a MIMO one already")
  const components = componentsOf("mimo", context)
  if (components.length < 2) return noEquivalent("mimo", "the model has a single component, and no MIMO form")
  const strays = homeless(draft, (key) => route(components, key))
  if (strays.length > 0) return noEquivalent("mimo", `these tensors belong to no component of the model: ${few(strays)}`)
  const routed = withNote(moveKeys(draft, ({ key, space }) => {
    const { component, key: to } = route(components, unwrapKey(key))!
    return { space: spaceOf(space, component), key: to }
  }), context)
  return keys.some((key) => /(^|\.)mtp\./.test(key))
    ? noted(routed, "MIMO models have no multi-token-prediction module: those tensors stay in the checkpoint, and loaders do not ask for them")
    : routed
}

export const toStandard: Rule = (draft, context) => {
  if (!isMimo(modelKeys(draft).map(unwrapKey))) return noEquivalent("standard", "the checkpoint is a standard one already")
  const components = componentsOf("standard", context)
  const strays = homeless(draft, (key) => unroute(components, key))
  if (strays.length > 0) return noEquivalent("standard", `the standard model has no place for these tensors: ${few(strays)}`)
  return withNote(moveKeys(draft, ({ key, space }) => ({ space: spaceOf(space, undefined), key: unroute(components, unwrapKey(key))!.key })), context)
}
