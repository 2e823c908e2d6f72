/**
 * Parameter groups and scalers of optimizers whose ranks each stored their own: in objects by group of ranks, which the model-space forms keep
 * once, in the common state or (MegatronMIMO) in one object (training-checkpoints.md 1, 2.3, 2.6).
 */
import { join } from "node:path"
import { readItem } from "../../checkpoint/readItem.ts"
import { atPath } from "../../document/decode.ts"
import { FormatError } from "../../errors.ts"
import type { Store } from "../../store/Store.ts"
import { dictOf, type PlainValue, rewriteArchive, withEntries } from "../../torch/ArchiveEdit.ts"
import type { DcpMetadata, StoredObject } from "../../torch/DcpMetadata.ts"
import { objectItem, parseArchive } from "../../torch/ObjectItem.ts"
import { PickleDict, PickleList, type PickleValue } from "../../torch/PickleValue.ts"
import { parseBytes } from "../../torch/Ranges.ts"

export const FULLY_RESHARDABLE = "fully_reshardable"

/** Groups of a large model have some KB. */
const LARGEST_GROUPS = 64 << 20
/** What only buckets need. */
const OF_BUCKETS: ReadonlySet<string> = new Set(["per_bucket_numel", "per_bucket_numel_unpadded", "param_state"])

export interface RankObject {
  readonly key: string
  readonly group: number
  readonly name: string
  readonly object: StoredObject
}

/** The objects that groups of ranks stored of the optimizer with this prefix. */
export const rankObjects = ({ objects }: DcpMetadata, prefix: string): ReadonlyArray<RankObject> =>
  [...objects].flatMap(([key, object]) => {
    if (!key.startsWith(`${prefix}optimizer.distributed.dp_group_idx_`)) return []
    const [, group, name] = /^optimizer\.distributed\.dp_group_idx_(\d{1,9})\.([a-z_]+)\/shard_0_1$/.exec(key.slice(prefix.length)) ?? []
    return group === undefined ? [] : [{ key, group: Number(group), name: name!, object }]
  })

const valueOf = async (store: Store, directory: string, { key, object }: RankObject): Promise<PickleValue> => {
  if (object.length > LARGEST_GROUPS) throw new FormatError("checkpoint/groups", `${key} has ${object.length} bytes; no more than ${LARGEST_GROUPS} are read`)
  const bytes = await readItem(store, directory, object)
  return atPath(join(directory, object.file), () => {
    const { value } = parseBytes(bytes, parseArchive(bytes.length))
    const [first] = value instanceof PickleList ? value.items : []
    if (first === undefined) throw new FormatError("checkpoint/groups", `${key} holds nothing`)
    return first
  })
}

/** What the first group of ranks stored, by name: `optimizer` (with `param_groups`), `grad_scaler` …; all groups store the same. */
export const sharedValues = async (store: Store, directory: string, objects: ReadonlyArray<RankObject>): Promise<ReadonlyMap<string, PickleValue>> => {
  const values = new Map<string, PickleValue>()
  for (const object of objects) if (object.group === 0 && !OF_BUCKETS.has(object.name)) values.set(object.name, await valueOf(store, directory, object))
  return values
}

/** An optimizer's entry of the common state, as the model-space forms have it. */
const commonEntry = (values: ReadonlyMap<string, PickleValue>, old: PickleValue | undefined): PickleDict =>
  withEntries(old instanceof PickleDict ? old : new PickleDict(), new Map<string, PlainValue>([...values, ["param_state_sharding_type", FULLY_RESHARDABLE]] as ReadonlyArray<[string, PlainValue]>))

/** Items of a MegatronMIMO component's optimizer, by key. */
export const mimoItems = (component: string, chained: number, isChain: boolean, values: ReadonlyMap<string, PickleValue>): ReadonlyMap<string, Uint8Array> => {
  const own = `mimo.${component}.optimizer.mimo.${component}.${isChain && chained > 0 ? `${chained}.` : ""}`
  const optimizer = values.get("optimizer")
  const groups = optimizer instanceof PickleDict ? optimizer.get("param_groups") : undefined
  const items = new Map<string, Uint8Array>([[`${own}param_state_sharding_type/shard_0_1`, objectItem(FULLY_RESHARDABLE)]])
  if (groups instanceof PickleList) items.set(`${own}param_groups/shard_0_1`, itemOf(withoutParameters(groups)))
  for (const [name, value] of values) if (name !== "optimizer") items.set(`${own}${name}/shard_0_1`, itemOf(value))
  return items
}

/** Every group says that it lists no parameters. */
const withoutParameters = (groups: PickleList): PickleList => {
  const out = new PickleList()
  for (const group of groups.items) out.push(group instanceof PickleDict ? withEntries(group, new Map([["params", new PickleList()]])) : group)
  return out
}

const itemOf = (value: PickleValue): Uint8Array =>
  rewriteArchive(objectItem(null), () => {
    const list = new PickleList()
    list.push(value)
    return list
  })

/** The `optimizer` entry of the common state: of one optimizer, or of a chain by number. */
export const commonOptimizer = (old: PickleValue | undefined, entries: ReadonlyMap<number, ReadonlyMap<string, PickleValue>>, isChain: boolean): PickleDict => {
  const dict = old instanceof PickleDict ? old : new PickleDict()
  if (!isChain) return commonEntry(entries.get(0) ?? new Map(), dict)
  const numbered = new Map<PickleValue, PickleValue>()
  for (let i = 0; i < dict.entries.length; i += 2) numbered.set(dict.entries[i]!, dict.entries[i + 1]!)
  for (const [index, values] of entries) numbered.set(index, commonEntry(values, numbered.get(index)))
  return dictOf([...numbered] as ReadonlyArray<[PickleValue, PlainValue]>)
}
