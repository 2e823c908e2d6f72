/**
 * Standard ↔ MIMO: the keys below a component's source prefix carry its target module path instead, and nothing else changes
 * (torch-dist-format.md F.1).
 */
import type { Component } from "../../bridge/Component.ts"
import { unwrapKey } from "../../checkpoint/Checkpoint.ts"
import { modelKeys, noted, rename } from "../Draft.ts"
import { few, refuse, type Rule, type RuleContext } from "./Rule.ts"

const componentsOf = (to: string, { components }: RuleContext): ReadonlyArray<Component> =>
  components ?? refuse(to, "nothing says which parts of the model are components", "--hf-model DIR names the model's config.json")

const isMimo = (keys: ReadonlyArray<string>): boolean => keys.some((key) => key.startsWith("modality_submodules."))

export const toMimo: Rule = (draft, context) => {
  const keys = modelKeys(draft)
  if (isMimo(keys)) return refuse("mimo", "the checkpoint is a MIMO one already")
  const components = componentsOf("mimo", context)
  if (components.length < 2) return refuse("mimo", "the model has a single component, and no MIMO form")
  const route = (key: string) => {
    const plain = unwrapKey(key)
    const component = components.find((c) => plain.startsWith(c.sourcePrefix))
    return component && `${component.targetModulePath}.${plain.slice(component.sourcePrefix.length)}`
  }
  const homeless = keys.filter((key) => route(key) === undefined)
  if (homeless.length > 0) return refuse("mimo", `these tensors belong to no component of the model: ${few(homeless)}`)
  const routed = rename(draft, (key) => route(key) ?? key)
  return keys.some((key) => /(^|\.)mtp\./.test(key))
    ? noted(routed, "MIMO models have no multi-token-prediction module: those tensors stay in the checkpoint, and loaders do not ask for them")
    : routed
}

export const toStandard: Rule = (draft, context) => {
  const keys = modelKeys(draft).map(unwrapKey)
  if (!isMimo(keys)) return refuse("standard", "the checkpoint is a standard one already")
  const components = componentsOf("standard", context)
  const route = (key: string) => {
    const plain = unwrapKey(key)
    const component = components.find((c) => plain.startsWith(`${c.targetModulePath}.`))
    return component && component.sourcePrefix + plain.slice(component.targetModulePath.length + 1)
  }
  const homeless = keys.filter((key) => route(key) === undefined)
  if (homeless.length > 0) {
    return refuse("standard", `the standard model has no place for these tensors: ${few(homeless)}`)
  }
  return rename(draft, (key) => route(key) ?? key)
}
