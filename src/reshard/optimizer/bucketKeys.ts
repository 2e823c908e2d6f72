/** The keys of optimizer state in buckets, taken apart (training-checkpoints.md 2.3). Pure. */
import type { ItemsPlace, SpaceTensor, TensorSpace } from "../../space/TensorSpace.ts"
import { roleOf } from "../../model/storedKey.ts"

/** One bucket: its flat tensors by state (`param`, `exp_avg`, …), all of one length. */
export interface Bucket {
  readonly states: ReadonlyMap<string, SpaceTensor<ItemsPlace>>
  readonly length: number
}

/** The buckets of one buffer, in order. */
export interface BucketBuffer {
  readonly index: number
  /** Of the parameters in it, as torch names it: `bfloat16`. */
  readonly parameterType: string
  readonly buckets: ReadonlyArray<Bucket>
}

/** One optimizer of a chain: buffers of each group of ranks, by the group's index. */
export interface BucketOptimizer {
  /** In front of `optimizer.distributed.…`. */
  readonly prefix: string
  /** The MIMO component that it belongs to. */
  readonly component: string | undefined
  readonly chained: number
  readonly groups: ReadonlyMap<number, ReadonlyArray<BucketBuffer>>
}

const KEY = /^((?:mimo\.([^.]+)\.)?(?:chained_(\d{1,6})\.)?)optimizer\.distributed\.dp_group_idx_(\d{1,9})\.gbuf_idx_(\d{1,6})\.dtype_\(torch\.(\w+), torch\.\w+\)\.bucket_idx_(\d{1,6})\.([a-z0-9_]+)$/

interface Open {
  readonly component: string | undefined
  readonly chained: number
  readonly groups: Map<number, Map<number, { type: string; buckets: Map<number, Map<string, SpaceTensor<ItemsPlace>>> }>>
}

const sub = <K, V>(map: Map<K, V>, key: K, make: () => V): V => {
  let value = map.get(key)
  if (value === undefined) map.set(key, value = make())
  return value
}

const ordered = <V>(map: ReadonlyMap<number, V>): ReadonlyArray<readonly [number, V]> => [...map].sort(([a], [b]) => a - b)

/** Is it a key of a bucket? */
export const isBucketKey = (key: string): boolean => roleOf(key) === "optimizer" && KEY.test(key)

/** All optimizers whose state is in buckets, in the order of their chains. */
export const bucketOptimizers = ({ tensors }: TensorSpace<ItemsPlace>): ReadonlyArray<BucketOptimizer> => {
  const found = new Map<string, Open>()
  for (const [key, tensor] of tensors) {
    const [, prefix, component, chained, group, buffer, type, bucket, state] = KEY.exec(key) ?? []
    if (prefix === undefined) continue
    const optimizer = sub(found, prefix, () => ({ component, chained: Number(chained ?? 0), groups: new Map() }))
    const own = sub(sub(optimizer.groups, Number(group), () => new Map()), Number(buffer), () => ({ type: type!, buckets: new Map() }))
    sub(own.buckets, Number(bucket), () => new Map()).set(state!, tensor)
  }
  return [...found].map(([prefix, { chained, component, groups }]) => ({
    prefix,
    component,
    chained,
    groups: new Map(ordered(groups).map(([group, buffers]) => [group, ordered(buffers).map(([index, { buckets, type }]) => ({
      index,
      parameterType: type,
      buckets: ordered(buckets).map(([, states]) => ({ states, length: [...states.values()][0]!.shape[0] ?? 0 }))
    }))]))
  })).sort((a, b) => a.chained - b.chained)
}
