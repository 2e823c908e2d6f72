/**
 * Rows of stored parameters that repeat what one HF tensor holds once (values that are keys, a gate per row of a head): an import fills
 * them from it, an export reads the first of them. Training moves each on its own, so an export looks whether they are still alike.
 */
import { Effect } from "effect"
import type { Comparison } from "../engine/index.ts"
import { PlanRefused } from "../errors.ts"
import { type Copy, viewOf, volume } from "../tensor/Copy.ts"
import type { StoredParameter } from "../checkpoint/StoredArrays.ts"
import type { ExportPlan, RepeatedRows } from "./ExportDraft.ts"
import type { Located } from "./located.ts"
import { compileAllowed } from "./match.ts"
import { unequal } from "./unequal.ts"

/** A copy without the axis `axis`, at one place of it. */
const slice = ({ shape, source, target, ...rest }: Copy, axis: number, at: number): Copy => ({
  ...rest,
  shape: shape.toSpliced(axis, 1),
  source: { ...source, strides: source.strides.toSpliced(axis, 1), offset: source.offset + at * source.strides[axis]! },
  target: { ...target, strides: target.strides.toSpliced(axis, 1), offset: target.offset + at * target.strides[axis]! }
})

/** One copy for each time that the source elements are repeated. */
const times = (copy: Copy): ReadonlyArray<Copy> => {
  const axis = copy.source.strides.findIndex((stride, k) => stride === 0 && copy.shape[k]! > 1)
  return axis < 0 ? [copy] : Array.from({ length: copy.shape[axis]! }, (_, i) => times(slice(copy, axis, i))).flat()
}

const sameSource = (a: Copy, b: Copy): boolean => JSON.stringify([a.shape, a.source]) === JSON.stringify([b.shape, b.source])

/** What stands in the rows of `copy`, as an array in C order. */
const only = (id: string, { shape, target }: Copy): Copy => ({ shape, source: viewOf(id, shape), target })

/** The rows that an export reads nothing from, although they are values of an HF tensor. Constants are none. */
export const repeatsOf = (located: ReadonlyArray<Located>): ReadonlyArray<RepeatedRows> =>
  located.flatMap(({ bound: { copies, module, parameter: { name, shape } }, parts }) => {
    const id = module.keyPrefix + name
    return copies.filter(({ echo, transform }) => echo && !transform).flatMap(times).flatMap((copy): ReadonlyArray<RepeatedRows> => {
      const main = copies.find((other) => !other.echo && sameSource(other, copy))
      if (!main) throw new RangeError(`${id} repeats rows that no copy of it moves`)
      const part = (of: Copy): StoredParameter => ({ shape, copies: [only(id, of)], parts })
      return volume(copy.shape) === 0 ? [] : [{ id, dtype: parts[0]!.tensor.dtype, shape: copy.shape, rows: part(copy), first: part(main) }]
    })
  })

/** Repeated rows, held against the first of them. */
export const repeatComparison = ({ stored }: ExportPlan, { dtype, first, id, rows, shape }: RepeatedRows): Comparison => ({
  array: { id, dtype, shape, copies: () => stored.toHf(rows, id) },
  with: { id, dtype, shape, copies: () => stored.toHf(first, id) }
})

/**
 * The plan, with a note where rows that differ are left out because `allowUnmapped` names their parameter. PlanRefused
 * `plan/repeats-differ` for others.
 */
export const checkedRepeats = Effect.fnUntraced(function*(plan: ExportPlan, allowUnmapped: ReadonlyArray<string>) {
  if (plan.repeats.length === 0) return plan
  const comparisons = Iterator.from(plan.repeats).map((rows) => repeatComparison(plan, rows))
  const differing = yield* unequal("repeated rows", comparisons)
  if (differing.size === 0) return plan
  const allowed = compileAllowed(allowUnmapped)
  const refused = [...differing].filter((id) => !allowed(id))
  if (refused.length > 0) {
    return yield* new PlanRefused({
      code: "plan/repeats-differ",
      problem: `${refused.length === 1 ? "a parameter has" : `${refused.length} parameters have`} rows that repeat others, by config.json, and training has made them differ; Hugging Face's model has one tensor for both`,
      names: refused,
      hint: "--allow-unmapped with the names above writes the first of the rows and leaves out the others; the model that comes out is then not the trained one."
    })
  }
  const note = `${differing.size} parameter${differing.size === 1 ? "" : "s"} had rows that training made differ from those that they repeat; the first of them are written, the others are left out (${[...differing][0]} …)`
  return { ...plan, report: { ...plan.report, notes: [...plan.report.notes, note] } } satisfies ExportPlan
})
