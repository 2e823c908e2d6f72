/**
 * How two checkpoints differ: tensors that only one has, other shapes, other dtypes, other values. Values are compared bit by
 * bit; those that differ are read once more to measure how far.
 */
import { Effect } from "effect"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { sameShape, volume } from "../tensor/Copy.ts"
import { bitsOf, bytesOf, type DType, isFloat } from "../tensor/DType.ts"
import { compareData, type CompareOptions, type Distance, type Pair } from "./compareData.ts"
import { openSides, type DiffSide } from "./sides.ts"

/** `missing`: only the left has it; `extra`: only the right; `dtype`: other dtype (values may agree); `values`: other values. */
export type DiffKind = "missing" | "extra" | "shape" | "dtype" | "values"

/** One tensor that is not the same on both sides. */
export interface TensorDiff {
  readonly name: string
  readonly kind: DiffKind
  readonly component: string
  readonly left?: { readonly dtype: DType; readonly shape: ReadonlyArray<number> }
  readonly right?: { readonly dtype: DType; readonly shape: ReadonlyArray<number> }
  /** For `dtype` and `values`, if they were compared; of another dtype, once the left is cast to the right's. */
  readonly distance?: Distance
}

/** How two checkpoints differ. */
export interface DiffReport {
  readonly left: string
  readonly right: string
  /** Tensors of both sides together, and how many are equal. */
  readonly total: number
  readonly equal: number
  /** Values were compared, not headers only. */
  readonly compared: boolean
  readonly counts: Readonly<Record<DiffKind, number>>
  readonly tensors: ReadonlyArray<TensorDiff>
  readonly notes: ReadonlyArray<string>
}

export interface DiffOptions extends Omit<CompareOptions, "norms"> {
  /** Compare names, shapes and dtypes only. */
  readonly headers: boolean
  /** Measure the distances of values that differ. */
  readonly norms: boolean
  readonly filter?: (name: string) => boolean
  /** The base model of adapters, where a directory of `peft` is compared with a Megatron checkpoint. */
  readonly hfModel?: string
  /** Called once it is known how many bytes will be compared. */
  readonly onSize?: (bytes: number) => void
}

const isComparable = (a: DType, b: DType): boolean => (a === b ? bitsOf(a) % 8 === 0 : isFloat(a) && isFloat(b))

interface Matched {
  readonly differences: Array<TensorDiff>
  /** Tensors whose values remain to be compared. */
  readonly pairs: Array<Pair>
  readonly total: number
}

const matchHeaders = (left: DiffSide, right: DiffSide, filter: (name: string) => boolean): Matched => {
  const differences: Array<TensorDiff> = []
  const pairs: Array<Pair> = []
  let total = 0
  const describe = ({ dtype, shape }: { readonly dtype: DType; readonly shape: ReadonlyArray<number> }) => ({ dtype, shape })
  for (const [name, a] of left.tensors) {
    if (!filter(name)) continue
    total++
    const b = right.tensors.get(name)
    const { component } = a
    if (!b) differences.push({ name, kind: "missing", component, left: describe(a) })
    else if (!sameShape(a.shape, b.shape)) differences.push({ name, kind: "shape", component, left: describe(a), right: describe(b) })
    else {
      if (a.dtype !== b.dtype) differences.push({ name, kind: "dtype", component, left: describe(a), right: describe(b) })
      if (isComparable(a.dtype, b.dtype)) pairs.push({ name, dtype: b.dtype })
    }
  }
  for (const [name, b] of right.tensors) {
    if (left.tensors.has(name) || !filter(name)) continue
    total++
    differences.push({ name, kind: "extra", component: b.component, right: describe(b) })
  }
  return { differences, pairs, total }
}

/** Compare two checkpoints of any kind. */
export const diff = Effect.fnUntraced(function*(families: FamilyRegistry, leftPath: string, rightPath: string, options: DiffOptions) {
  const { filter = () => true, headers, hfModel, norms, onSize, ...run } = options
  const { left, notes, right } = yield* openSides(families, leftPath, rightPath, hfModel)
  const { differences, pairs, total } = matchHeaders(left, right, filter)
  const size = (names: ReadonlyArray<Pair>) => names.reduce((sum, p) => sum + volume(right.tensors.get(p.name)!.shape) * bytesOf(p.dtype), 0)
  onSize?.(headers ? 0 : size(pairs))
  const found = headers || pairs.length === 0 ? new Map<string, Distance>() : yield* Effect.gen(function*() {
    const names = pairs.map((p) => p.name)
    const [a, b] = [yield* left.open(names), yield* right.open(names)]
    const all = new Map(yield* compareData(pairs, a, b, { ...run, norms: false }))
    const differing = pairs.filter((p) => all.get(p.name)!.differing > 0)
    if (norms && differing.length > 0) {
      const { progress: _, ...quiet } = run
      for (const [name, distance] of yield* compareData(differing, a, b, { ...quiet, norms: true })) all.set(name, distance)
    }
    return all
  })
  const byName = new Map(differences.map((d) => [d.name, d]))
  for (const [name, distance] of found) {
    const known = byName.get(name)
    if (known) byName.set(name, { ...known, distance })
    else if (distance.differing > 0) {
      const [a, b] = [left.tensors.get(name)!, right.tensors.get(name)!]
      byName.set(name, {
        name,
        kind: "values",
        component: a.component,
        left: { dtype: a.dtype, shape: a.shape },
        right: { dtype: b.dtype, shape: b.shape },
        distance
      })
    }
  }
  const tensors = [...byName.values()]
  const count = (kind: DiffKind) => tensors.filter((t) => t.kind === kind).length
  return {
    left: left.path,
    right: right.path,
    total,
    equal: total - tensors.length,
    compared: !headers,
    counts: { missing: count("missing"), extra: count("extra"), shape: count("shape"), dtype: count("dtype"), values: count("values") },
    tensors,
    notes
  } satisfies DiffReport
})
