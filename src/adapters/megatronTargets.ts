/** The names by which a trainer builds these adapters and no others: `target_modules` of its classes. Pure. */
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { AdapterForm } from "../runconfig/adapterSection.ts"
import { isLinearWeight } from "./factors.ts"
import type { StoredPair } from "./StoredPair.ts"

/** The path of a parameter's module in the trainer's model. */
const moduleOf = ({ module: { keyPrefix }, parameter: { name } }: BoundParameter): string => (keyPrefix + name).replace(/\.weight\d*$/, "")

const leafOf = (path: string): string => path.slice(path.lastIndexOf(".") + 1)

/** What the canonical class calls the parts of a fused module. */
const PARTS = { q: "linear_q", k: "linear_k", v: "linear_v", gate: "linear_fc1_gate", up: "linear_fc1_up" } as const
const WHOLE: Readonly<Record<string, ReadonlyArray<string>>> = { linear_qkv: ["linear_q", "linear_k", "linear_v"], linear_fc1: ["linear_fc1_gate", "linear_fc1_up"] }

/** A module, or a part of one, as the class of this form is told of it. */
const namesOf = (form: AdapterForm, path: string, slots: ReadonlyArray<keyof typeof PARTS>): ReadonlyArray<string> => {
  if (form !== "canonical") return [path]
  const leaf = leafOf(path)
  const parts = slots.length > 0 ? slots.map((slot) => PARTS[slot]) : WHOLE[leaf] ?? [leaf]
  return parts.map((part) => path.slice(0, path.length - leaf.length) + part)
}

/**
 * Last names where every module of that name has an adapter; else, with `*` for its layer, the path of each that all layers have; else
 * whole paths.
 */
export const megatronTargets = (form: AdapterForm, parameters: ReadonlyArray<BoundParameter>, pairs: ReadonlyArray<StoredPair>): ReadonlyArray<string> => {
  const every = parameters.filter(isLinearWeight).map(moduleOf).flatMap((path) => namesOf(form, path, []))
  const slots = Map.groupBy(pairs, ({ base }) => moduleOf(base))
  const adapted = new Set([...slots].flatMap(([path, own]) => namesOf(form, path, own.flatMap(({ slot }) => slot ?? []))))
  const others = every.filter((path) => !adapted.has(path))
  const masked = (path: string): string => path.replace(/\blayers\.\d+\./, "layers.*.")
  const [leaves, masks] = [new Set(others.map(leafOf)), new Set(others.map(masked))]
  return [...new Set(Iterator.from(adapted).map((path) => !leaves.has(leafOf(path)) ? leafOf(path) : !masks.has(masked(path)) ? masked(path) : path))].sort()
}
