/**
 * Which modules have an `_extra_state`, by their stored keys alone. What the modules of this room give a state to is asked of
 * their specimens (torch-dist-format.md D.4).
 */
import { stateModule } from "./shardKey.ts"
import { specimens } from "./specimens.ts"

const lastOf = (path: string): string => path.slice(path.lastIndexOf(".") + 1)

/** Names of modules that have a state wherever they occur, and of those that have one in some places only: `parent.name`. */
const collected = () => {
  const entries = specimens()
  // A state of None is that of a module whose kin has none.
  const stateful = new Set(entries.flatMap((e) => (e.kind === "state" && e.payload === "empty" ? [kindOf(stateModule(e.key)!)] : [])))
  const names = new Set([...stateful].map(lastOf))
  for (const e of entries) {
    if (e.kind === "state") continue
    const module = moduleOf(e.parts[0]!.key)
    if (module !== undefined && !stateful.has(kindOf(module))) names.delete(lastOf(module))
  }
  return { stateful, names }
}

/** The module of a weight's key: what is in front of `weight`, `weight_w`, `weight.query` or an attention core's offsets. */
export const moduleOf = (key: string): string | undefined => /^(.+)\.(?:weight(?:_[wv]|\.[a-z]\w*)?|softmax_offset)$/i.exec(key)?.[1]

/** A module by its own name and that of the module it is in, whatever their numbers: `self_attention.linear_qkv`. */
export const kindOf = (module: string): string => module.split(".").filter((s) => !/^\d+$/.test(s)).slice(-2).join(".")

let known: ReturnType<typeof collected> | undefined

/** What Megatron builds of its own modules; a foreign tower may use their names for plain ones. */
const MEGATRON = /(?:^|\.)(?:decoder|mtp|merger|deepstack_merger_list)\./

/** Has Transformer Engine's form of this module a state? `maybe`: some blocks have a module of this name and place without one. */
export const givesState = (module: string): "yes" | "maybe" | "no" => {
  if (!MEGATRON.test(module)) return "no"
  known ??= collected()
  if (known.names.has(lastOf(module))) return "yes"
  return known.stateful.has(kindOf(module)) ? "maybe" : "no"
}
