/**
 * Parameter groups where a layout makes experts an optimizer of their own, or no longer does. A trainer has a chain of two where experts are
 * spread otherwise than the rest (expert parallelism, or another tensor parallelism), else one; it finds a group by what sets it apart, among
 * which is whether it holds such experts (training-checkpoints.md 1, 2.5). Pure.
 */
import type { ModuleParallelism } from "../../parallel/ModuleParallelism.ts"
import { dictOf, type PlainValue, withEntries } from "../../torch/ArchiveEdit.ts"
import { PickleDict, PickleList, type PickleValue, PyFloat } from "../../torch/PickleValue.ts"

/** Do the experts of a layout have an optimizer of their own? */
export const separatesExperts = ({ ep, etp, tp }: ModuleParallelism, hasExperts: boolean): boolean => hasExperts && (ep > 1 || etp !== tp)

/** What groups are told apart by, besides being of experts. */
const IDENTITY = ["wd_mult", "lr_mult", "pre_wd_mult", "pre_lr_mult", "is_decoupled_lr", "max_lr", "min_lr", "start_wd", "end_wd", "optimizer"]

const plainOf = (value: PickleValue | undefined): unknown => (value instanceof PyFloat ? value.value : value ?? null)
const identityOf = (group: PickleDict): string => JSON.stringify(IDENTITY.map((name) => plainOf(group.get(name))))

/** Groups of an optimizer's entry: of one that has a mixed-precision wrapper, or of none. */
const groupsOf = (entry: PickleDict): ReadonlyArray<PickleDict> => {
  const inner = entry.get("optimizer")
  const list = (inner instanceof PickleDict ? inner : entry).get("param_groups")
  return list instanceof PickleList ? list.items.filter((group) => group instanceof PickleDict) : []
}

const withGroups = (entry: PickleDict, groups: ReadonlyArray<PickleDict>): PickleDict => {
  const list = new PickleList()
  for (const group of groups) list.push(group)
  const inner = entry.get("optimizer")
  return inner instanceof PickleDict
    ? withEntries(entry, new Map([["optimizer", withEntries(inner, new Map([["param_groups", list]]))]]))
    : withEntries(entry, new Map([["param_groups", list]]))
}

const ofExperts = (group: PickleDict, isExpert: boolean): PickleDict => withEntries(group, new Map([["is_expert_parallel", isExpert]]))

const isUndecayed = (group: PickleDict): boolean => [group.get("wd_mult"), group.get("pre_wd_mult")].some((value) => plainOf(value) === 0)

/** The entries of a chain by number; undefined for an optimizer that is alone. */
const chainOf = (optimizer: PickleDict): ReadonlyMap<PickleValue, PickleDict> | undefined => {
  const chain = new Map<PickleValue, PickleDict>()
  for (let i = 0; i < optimizer.entries.length; i += 2) {
    const [key, value] = [optimizer.entries[i]!, optimizer.entries[i + 1]]
    if (typeof key === "number" && value instanceof PickleDict) chain.set(key, value)
  }
  return chain.size > 0 ? chain : undefined
}

const joined = (chain: ReadonlyMap<PickleValue, PickleDict>): PickleDict => {
  const [first, ...others] = [...chain.values()] as [PickleDict, ...Array<PickleDict>]
  const groups = [...groupsOf(first)]
  const known = new Set(groups.map(identityOf))
  for (const group of others.flatMap(groupsOf)) if (!known.has(identityOf(group))) groups.push(ofExperts(group, false))
  return withGroups(first, groups)
}

const separated = (alone: PickleDict, biases: boolean): PickleDict => {
  const groups = groupsOf(alone).filter((group) => biases || !isUndecayed(group)).map((group) => ofExperts(group, true))
  return dictOf([[0, alone], [1, withGroups(alone, groups)]] as ReadonlyArray<[PickleValue, PlainValue]>)
}

/** The `optimizer` entry of the common state under a layout that separates experts, or does not. `biases`: experts have vectors too. */
export const regrouped = (optimizer: PickleValue | undefined, separates: boolean, biases: boolean): PickleValue | undefined => {
  if (!(optimizer instanceof PickleDict)) return optimizer
  const chain = chainOf(optimizer)
  if (chain && !separates) return joined(chain)
  return !chain && separates && groupsOf(optimizer).length > 0 ? separated(optimizer, biases) : optimizer
}
