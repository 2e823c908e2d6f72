/**
 * Exact accounting: do these strided boxes cover every element of a tensor exactly once? Works on the structure of the
 * boxes (common outer axes, intervals), not on elements, so that it is cheap for interleaves and transposes of any size.
 */
import { type Shape, type View, volume } from "./Copy.ts"

/** A strided set of element addresses, axes coarsest first, axes of extent 1 and joinable runs removed. */
interface StridedSet {
  readonly offset: number
  readonly axes: ReadonlyArray<readonly [count: number, stride: number]>
  readonly label: string
}

export type Coverage =
  | { readonly kind: "exact" }
  | { readonly kind: "hole"; readonly element: number }
  | { readonly kind: "overlap"; readonly element: number; readonly labels: ReadonlyArray<string> }

export interface CoveredView {
  readonly shape: Shape
  readonly view: View
  /** Names the piece in a report (the tensor on the other side). */
  readonly label: string
}

/** Sets that cannot be told apart structurally are listed run by run, up to this many. */
const MOST_RUNS = 1 << 22

const normalise = ({ label, shape, view }: CoveredView): StridedSet => {
  const axes = shape
    .map((count, i) => [count, view.strides[i]!] as const)
    .filter(([count]) => count !== 1)
    .sort((a, b) => b[1] - a[1])
  const joined: Array<readonly [number, number]> = []
  for (const axis of axes.reverse()) {
    const inner = joined.at(-1)
    if (inner && axis[1] === inner[0] * inner[1]) joined[joined.length - 1] = [axis[0] * inner[0], inner[1]]
    else joined.push(axis)
  }
  return { offset: view.offset, axes: joined.reverse(), label }
}

const reach = (set: StridedSet): number => set.axes.reduce((sum, [count, stride]) => sum + (count - 1) * stride, set.offset)

const isRun = (set: StridedSet): boolean => set.axes.length === 0 || (set.axes.length === 1 && set.axes[0]![1] === 1)

/** Elements of a piece that is one run; undefined if it is not. */
const runLength = ({ shape, view }: CoveredView): number | undefined => {
  let step = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && view.strides[axis] !== step) return undefined
    step *= shape[axis]!
  }
  return step
}

/** Most tensors are one run, or a few runs in order. */
const isChainOfRuns = (total: number, pieces: ReadonlyArray<CoveredView>): boolean => {
  let at = 0
  for (const piece of pieces) {
    if (piece.view.offset !== at) return false
    const length = runLength(piece)
    if (length === undefined) return false
    at += length
  }
  return at === total
}

/** Does the list of pieces cover the tensor of `shape` exactly once? The first offending element is named. */
export const coverage = (shape: Shape, pieces: ReadonlyArray<CoveredView>): Coverage => {
  const total = volume(shape)
  if (total === 0 || isChainOfRuns(total, pieces)) return { kind: "exact" }
  return cover(0, total, pieces.filter((p) => p.shape.every((n) => n > 0)).map(normalise))
}

const cover = (low: number, high: number, sets: ReadonlyArray<StridedSet>): Coverage => {
  const sorted = [...sets].sort((a, b) => a.offset - b.offset)
  let at = low
  for (let i = 0; i < sorted.length;) {
    if (sorted[i]!.offset > at) return { kind: "hole", element: at }
    if (sorted[i]!.offset < at) return { kind: "overlap", element: sorted[i]!.offset, labels: [sorted[i]!.label, sorted[Math.max(0, i - 1)]!.label] }
    // The sets whose hulls touch form one group that must be a gapless interval by itself.
    let end = reach(sorted[i]!) + 1
    let j = i + 1
    for (; j < sorted.length && sorted[j]!.offset < end; j++) end = Math.max(end, reach(sorted[j]!) + 1)
    const group = sorted.slice(i, j)
    const found = coverGroup(at, end, group)
    if (found.kind !== "exact") return found
    at = found.end
    i = j
  }
  return at === high ? { kind: "exact" } : at < high ? { kind: "hole", element: at } : { kind: "overlap", element: high, labels: [] }
}

type GroupCoverage = { readonly kind: "exact"; readonly end: number } | Exclude<Coverage, { kind: "exact" }>

const coverGroup = (low: number, end: number, group: ReadonlyArray<StridedSet>): GroupCoverage => {
  if (group.length === 1 && isRun(group[0]!)) return { kind: "exact", end }
  const outer = group[0]!.axes[0]
  // An interleave: all share the outermost axis, and one period of it must be covered.
  if (outer && group.every((s) => s.axes[0]?.[0] === outer[0] && s.axes[0][1] === outer[1] && s.offset < low + outer[1])) {
    const inner = group.map((s) => ({ ...s, axes: s.axes.slice(1) }))
    if (inner.every((s) => reach(s) < low + outer[1])) {
      const found = cover(low, low + outer[1], inner)
      return found.kind === "exact" ? { kind: "exact", end: low + outer[0] * outer[1] } : found
    }
  }
  return coverRuns(low, end, group)
}

const coverRuns = (low: number, end: number, group: ReadonlyArray<StridedSet>): GroupCoverage => {
  const runs: Array<readonly [start: number, end: number, label: string]> = []
  for (const set of group) {
    const run = set.axes.at(-1)?.[1] === 1 ? set.axes.at(-1)![0] : 1
    const outer = run === 1 ? set.axes : set.axes.slice(0, -1)
    let count = 1
    for (const [n] of outer) count *= n
    if (runs.length + count > MOST_RUNS) throw new RangeError(`${set.label}: the layout has too many pieces to check`)
    for (let i = 0; i < count; i++) {
      let offset = set.offset
      for (let rest = i, k = outer.length - 1; k >= 0; k--) {
        offset += (rest % outer[k]![0]) * outer[k]![1]
        rest = Math.floor(rest / outer[k]![0])
      }
      runs.push([offset, offset + run, set.label])
    }
  }
  runs.sort((a, b) => a[0] - b[0])
  let at = low
  let previous = ""
  for (const [start, stop, label] of runs) {
    if (start > at) return { kind: "hole", element: at }
    if (start < at) return { kind: "overlap", element: start, labels: [label, previous] }
    at = stop
    previous = label
  }
  return at === end ? { kind: "exact", end } : { kind: "hole", element: at }
}
