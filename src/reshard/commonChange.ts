/** What changes in the common state, and nothing else of it. Pure. */
import type { CommonChange } from "../checkpoint/CommonStateEdit.ts"
import { type Changes, dictOf, type PlainValue, withAttributes, withEntries } from "../torch/ArchiveEdit.ts"
import { PickleDict, PickleObject, type PickleValue } from "../torch/PickleValue.ts"
import { FULLY_RESHARDABLE } from "./optimizer/groups.ts"

export interface CommonFacts {
  /** Attributes of the run's arguments. */
  readonly args: Changes | undefined
  readonly dropsOptimizer: boolean
  readonly dropsRerun: boolean
  /** The optimizer's state became one that any layout can load. */
  readonly converted: boolean
  /** The `optimizer` entry, as it becomes. */
  readonly optimizer: (old: PickleValue | undefined) => PickleValue | undefined
}

/** By these a loader decides which keys it asks for. */
const WITHOUT_OPTIMIZER: Changes = new Map([["distrib_optim_sharding_type", undefined], ["distrib_optim_fully_reshardable_mem_efficient", undefined]])
const CONVERTED: Changes = new Map<string, string | boolean>([["distrib_optim_sharding_type", FULLY_RESHARDABLE], ["distrib_optim_fully_reshardable_mem_efficient", false]])
/** Of a core that wrote none yet (before 0.13). */
const FIRST_VERSION = [["singleton_local_shards", false], ["chained_optim_avoid_prefix", true]] as const

export const commonChange = ({ args, converted, dropsOptimizer, dropsRerun, optimizer }: CommonFacts): CommonChange => (common) => {
  const changes = new Map<string, PlainValue | undefined>()
  const namespace = common.get("args")
  if (args && args.size > 0 && namespace instanceof PickleObject) changes.set("args", withAttributes(namespace, args))
  if (dropsOptimizer) for (const name of ["optimizer", "opt_param_scheduler"]) changes.set(name, undefined)
  else if (common.get("optimizer") !== undefined) changes.set("optimizer", optimizer(common.get("optimizer")) as PlainValue | undefined)
  if (dropsRerun) changes.set("rerun_state_machine", undefined)
  const content = common.get("content_metadata")
  const flags: Changes = dropsOptimizer ? WITHOUT_OPTIMIZER : converted ? CONVERTED : new Map()
  if (content instanceof PickleDict) changes.set("content_metadata", withEntries(content, flags))
  else if (converted) changes.set("content_metadata", withEntries(dictOf(FIRST_VERSION), flags))
  return withEntries(common, changes)
}
