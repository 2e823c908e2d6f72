/** The way back: the arguments of a Megatron-LM run from a provider's fields, as its loader reads them from a checkpoint. */
import { dtypeOfGlobal, NAMESPACE } from "../torch/Globals.ts"
import { PickleDict, PickleGlobal, PickleList, PickleObject, type PickleValue, PyFloat } from "../torch/PickleValue.ts"
import { numberAt, type RunConfigMap, textAt } from "../runconfig/RunConfigFile.ts"
import type { PythonValue } from "../runconfig/Provider.ts"
import { ACTIVATIONS, RENAMED, SAME } from "./names.ts"

/** Undefined for what no argument is: functions, objects. */
const asArgument = (value: PythonValue | undefined): PickleValue | undefined => {
  if (value === undefined || value === null || typeof value !== "object") return value
  if (Array.isArray(value)) {
    const items = (value as ReadonlyArray<PythonValue>).map(asArgument)
    return items.every((item) => item !== undefined) ? listOf(items) : undefined
  }
  if ("$float" in value) return new PyFloat(value.$float as number)
  const target = (value as RunConfigMap)["_target_"]
  const [, dtype] = typeof target === "string" ? /^torch\.(\w+)$/.exec(target) ?? [] : []
  return dtype === undefined || dtypeOfGlobal(`torch ${dtype}`) === undefined ? undefined : new PickleGlobal("torch", dtype)
}

const listOf = (items: ReadonlyArray<PickleValue>): PickleList => {
  const list = new PickleList()
  list.extend([...items])
  return list
}

const named = (section: RunConfigMap): ReadonlyArray<readonly [string, PickleValue]> => {
  const same = SAME.flatMap(({ names }) => names).map((name) => [name, asArgument(section[name])] as const)
  const renamed = RENAMED.map(({ argument, field, negated }) => {
    const value = asArgument(section[field])
    return [argument, negated && typeof value === "boolean" ? !value : value] as const
  })
  return [...same, ...renamed].flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const]))
}

const activation = (section: RunConfigMap): ReadonlyArray<readonly [string, PickleValue]> => {
  const func = section["activation_func"]
  const target = typeof func === "object" && func !== null ? textAt(func as RunConfigMap, "_target_") : undefined
  const gated = section["gated_linear_unit"] === true
  const chosen = ACTIVATIONS.find(({ field, gated: both = false }) => field === target && both === gated)
  return ACTIVATIONS.flatMap(({ flag }) => (flag === undefined ? [] : [[flag, flag === chosen?.flag] as const]))
}

const groups = (section: RunConfigMap): ReadonlyArray<readonly [string, PickleValue]> => {
  const [heads, own] = [numberAt(section, "num_attention_heads"), numberAt(section, "num_query_groups")]
  return [["group_query_attention", own !== undefined && own !== heads], ["num_query_groups", own ?? heads ?? null]]
}

/** `args` of a run that would have built this model; `more`: what the provider does not say, which wins. */
export const argumentsOfProvider = (section: RunConfigMap, more: ReadonlyMap<string, PickleValue>): PickleObject => {
  const values = new Map([...named(section), ...groups(section), ...activation(section), ["add_position_embedding", true] as const, ...more])
  const state = new PickleDict()
  state.extend([...values].flat())
  const [module, name] = NAMESPACE.split(" ") as [string, string]
  const namespace = new PickleObject(new PickleGlobal(module, name), [], true)
  namespace.state = state
  return namespace
}
