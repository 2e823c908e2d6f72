/**
 * Experts (and gated projections) under one key or one key each. Grouped is what trainers save by default: `experts.experts.X`
 * with an expert axis, gate and up rows under one key. Sequential is the form of `content_metadata.singleton_local_shards`:
 * `experts.experts.{e}.X`, gate rows as `weight_w`, up rows as `weight_v` (torch-dist-format.md D.3). SequentialMLP and grouped GEMM
 * modules share the same keys in both.
 */
import { concatenate, type Draft, type DraftTensor, modelKeyOf, range, rewrite, sliceAt, stack, withContent } from "../Draft.ts"
import { type ExpertKey, expertKey, groupedList } from "../../model/layerKeys.ts"
import { readShardKey, shardKey } from "../../model/shardKey.ts"
import { few, noEquivalent, type Rule, slicesOf } from "./Rule.ts"
import { hasStacked, toIndexed } from "./layers.ts"

const FC1 = /^(.*\.linear_fc1)\.(weight|bias)$/
const HALF = /^(.*\.linear_fc1)\.(weight|bias)_([wv])$/

/** All experts under one key. */
const grouped = (key: string): ExpertKey | undefined => {
  const found = expertKey(key)
  return found?.expert === undefined ? found : undefined
}

/** One expert's key. */
const single = (key: string): Required<ExpertKey> | undefined => {
  const found = expertKey(key)
  return found?.expert === undefined ? undefined : { ...found, expert: found.expert }
}

/** Gate over up: the first projection has twice the rows that the second has columns. */
const isGated = (draft: Draft, space: string, key: string, rows: number): boolean => {
  const fc2 = draft.tensors.get(space + key.replace(/\.linear_fc1\.(weight|bias)$/, ".linear_fc2.weight"))
  const columns = fc2?.shape.at(-1)
  return columns !== undefined && rows === 2 * columns
}

export const toSequential: Rule = (draft, context) => {
  // The form always has its layers one by one.
  const indexed = hasStacked(draft) ? toIndexed(draft, context) : draft
  let found = false
  const halves = rewrite(indexed, {
    tensor: (key, tensor, space) => {
      const fc1 = FC1.exec(key)
      if (!fc1) return undefined
      const axis = grouped(key) ? 1 : 0
      const rows = tensor.shape[axis]
      if (rows === undefined || !isGated(indexed, space, key, rows)) return undefined
      found = true
      return [[`${key}_w`, range(tensor, axis, 0, rows / 2)], [`${key}_v`, range(tensor, axis, rows / 2, rows)]]
    }
  })
  const apart = rewrite(halves, {
    tensor: (key, tensor) => {
      const group = grouped(key)
      if (!group) return undefined
      found = true
      return Array.from({ length: slicesOf("sequential", key, tensor.shape) }, (_, e): readonly [string, DraftTensor] =>
        [`${group.list}.${e}.${group.module}.${group.name}`, sliceAt(tensor, 0, e)])
    },
    object: (key, object) => {
      const shard = readShardKey(key)
      const group = shard && grouped(shard.name)
      return group ? [[shardKey(`${group.list}.${shard.index[0] ?? 0}.${group.module}.${group.name}`, [], []), object]] : undefined
    }
  })
  if (!found) return noEquivalent("sequential", "there are no experts and no gated projections")
  return withContent(apart, "singleton_local_shards", true)
}

export const toGrouped: Rule = (draft) => {
  const counts = expertCounts(draft)
  const together = rewrite(draft, {
    tensor: (key, _, space) => {
      const one = single(key)
      if (!one) return undefined
      if (one.expert !== 0) return []
      const at = (e: number) => `${space}${one.list}.${e}.${one.module}.${one.name}`
      const experts = Array.from({ length: counts.get(space + one.list)! }, (_x, e) => draft.tensors.get(at(e)))
      const missing = experts.flatMap((t, e) => (t ? [] : [at(e)]))
      if (missing.length > 0) return noEquivalent("grouped", `these experts are missing: ${few(missing)}`)
      const [first] = experts
      if (experts.some((t) => t!.dtype !== first!.dtype || t!.shape.join() !== first!.shape.join())) {
        return noEquivalent("grouped", `the experts of ${one.list} differ in dtype or shape`)
      }
      return [[`${groupedList(one.list)}.${one.module}.${one.name}`, stack(experts as ReadonlyArray<DraftTensor>)]]
    },
    object: (key, object) => {
      const shard = readShardKey(key)
      const one = shard && single(shard.name)
      return one ? [[shardKey(`${groupedList(one.list)}.${one.module}.${one.name}`, [one.expert], [counts.get(one.list)!]), object]] : undefined
    }
  })
  const joined = rewrite(together, {
    tensor: (key, w, space) => {
      const half = HALF.exec(key)
      if (!half) return undefined
      if (half[3] === "v") return []
      const v = together.tensors.get(`${space}${half[1]}.${half[2]}_v`)
      if (!v || v.dtype !== w.dtype || v.shape.join() !== w.shape.join()) return noEquivalent("grouped", `${key} has no equal counterpart _v`)
      return [[`${half[1]}.${half[2]}`, concatenate([w, v], grouped(key) ? 1 : 0)]]
    }
  })
  if (counts.size === 0 && joined.tensors.size === draft.tensors.size) {
    return noEquivalent("grouped", "no expert and no gated projection is stored by itself")
  }
  return withContent(joined, "singleton_local_shards", false)
}

/** Number of experts of each group, by space and path. */
const expertCounts = (draft: Draft): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const full of draft.tensors.keys()) {
    const own = modelKeyOf(full)
    const one = own && single(own.key)
    if (one) counts.set(own.space + one.list, Math.max(counts.get(own.space + one.list) ?? 0, one.expert + 1))
  }
  return counts
}
