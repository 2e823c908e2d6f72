/**
 * Do these boxes tile this shape exactly? torch never asks: a hole leaves whatever was in the buffer, an overlap is decided
 * by the order of reading.
 *
 * Regular grids (nearly all checkpoints) take linear time. Otherwise the space is cut recursively wherever no box crosses
 * the cut, which also says where a hole is; a group that cannot be cut is compared pairwise, within a budget.
 */

export interface ChunkBox {
  readonly offsets: ReadonlyArray<number>
  readonly sizes: ReadonlyArray<number>
}

export type Cover =
  | { readonly kind: "exact" }
  /** Elements that no box covers: `from` ≤ index < `to` on every axis. At least one of them is uncovered. */
  | { readonly kind: "hole"; readonly from: ReadonlyArray<number>; readonly to: ReadonlyArray<number> }
  /** Two boxes (by position in the list) that share an element. */
  | { readonly kind: "overlap"; readonly a: number; readonly b: number }
  /** Answering would take too long; no writer cuts tensors like this. */
  | { readonly kind: "irregular" }

/** Steps of the general method; 150 000 boxes in sorted cuts need some 10 million. */
const BUDGET = 30_000_000

/** `boxes` must lie inside `shape` and have no empty axis. */
export const cover = (shape: ReadonlyArray<number>, boxes: ReadonlyArray<ChunkBox>): Cover => {
  if (shape.includes(0)) return { kind: "exact" }
  const whole = { from: shape.map(() => 0), to: [...shape] }
  if (boxes.length === 0) return { kind: "hole", ...whole }
  return grid(shape, boxes) ?? cut(whole, boxes)
}

/** Exact or overlapping if every box is one cell of a grid; undefined if they form no complete grid. */
const grid = (shape: ReadonlyArray<number>, boxes: ReadonlyArray<ChunkBox>): Cover | undefined => {
  let cells = 1
  const axes = shape.map((_, axis) => {
    const starts = new Set<number>()
    for (const box of boxes) starts.add(box.offsets[axis]!)
    cells *= starts.size
    return [...starts].sort((a, b) => a - b)
  })
  if (cells !== boxes.length) return undefined
  const places = axes.map((starts) => new Map(starts.map((start, i) => [start, i])))
  const ends = axes.map((starts, axis) => starts.map((_, i) => starts[i + 1] ?? shape[axis]!))
  if (axes.some((starts) => starts[0] !== 0)) return undefined
  const owner = new Int32Array(cells).fill(-1)
  for (let b = 0; b < boxes.length; b++) {
    const box = boxes[b]!
    let cell = 0
    for (let axis = 0; axis < shape.length; axis++) {
      const place = places[axis]!.get(box.offsets[axis]!)!
      if (box.offsets[axis]! + box.sizes[axis]! !== ends[axis]![place]) return undefined
      cell = cell * axes[axis]!.length + place
    }
    if (owner[cell] !== -1) return { kind: "overlap", a: owner[cell]!, b }
    owner[cell] = b
  }
  return { kind: "exact" }
}

interface Region {
  readonly from: ReadonlyArray<number>
  readonly to: ReadonlyArray<number>
}

/** A region and the boxes that lie in it. */
interface Task extends Region {
  readonly members: ReadonlyArray<number>
}

const cut = (whole: Region, boxes: ReadonlyArray<ChunkBox>): Cover => {
  const rank = whole.to.length
  const start = (b: number, axis: number) => boxes[b]!.offsets[axis]!
  const end = (b: number, axis: number) => boxes[b]!.offsets[axis]! + boxes[b]!.sizes[axis]!
  let budget = BUDGET
  const tasks: Array<Task> = [{ ...whole, members: boxes.map((_, i) => i) }]
  for (let task = tasks.pop(); task !== undefined; task = tasks.pop()) {
    const { from, members, to } = task
    let parts: Array<Task> = []
    for (let axis = 0; axis < rank && parts.length < 2; axis++) {
      budget -= members.length * (1 + Math.ceil(Math.log2(members.length + 1)))
      if (budget < 0) return { kind: "irregular" }
      parts = []
      const sorted = [...members].sort((a, b) => start(a, axis) - start(b, axis))
      const part = (low: number, high: number, group: ReadonlyArray<number>): Task => ({
        from: from.with(axis, low),
        to: to.with(axis, high),
        members: group
      })
      let low = from[axis]!
      let reach = low
      let group: Array<number> = []
      for (const b of sorted) {
        if (start(b, axis) > reach) return { kind: "hole", from: from.with(axis, reach), to: to.with(axis, start(b, axis)) }
        if (start(b, axis) === reach && group.length > 0) {
          parts.push(part(low, reach, group))
          low = reach
          group = []
        }
        group.push(b)
        reach = Math.max(reach, end(b, axis))
      }
      if (reach < to[axis]!) return { kind: "hole", from: from.with(axis, reach), to }
      parts.push(part(low, reach, group))
    }
    if (parts.length >= 2) {
      for (const one of parts) tasks.push(one)
      continue
    }
    // A single box that spans its region on every axis fills it.
    if (members.length === 1 || rank === 0) {
      if (members.length > 1) return { kind: "overlap", a: members[0]!, b: members[1]! }
      continue
    }
    const found = pairwise(task, boxes, () => --budget >= 0)
    if (found) return found
  }
  return { kind: "exact" }
}

/** A group that no plane separates: a pinwheel, or an overlap. */
const pairwise = ({ from, members, to }: Task, boxes: ReadonlyArray<ChunkBox>, pay: () => boolean): Cover | undefined => {
  const sorted = [...members].sort((a, b) => boxes[a]!.offsets[0]! - boxes[b]!.offsets[0]!)
  let active: Array<number> = []
  let volume = 0n
  for (const b of sorted) {
    const box = boxes[b]!
    active = active.filter((a) => boxes[a]!.offsets[0]! + boxes[a]!.sizes[0]! > box.offsets[0]!)
    for (const a of active) {
      if (!pay()) return { kind: "irregular" }
      if (intersects(boxes[a]!, box)) return { kind: "overlap", a, b }
    }
    active.push(b)
    volume += product(box.sizes)
  }
  // Disjoint boxes inside a region fill it exactly if their volumes add up.
  return volume === product(to.map((end, axis) => end - from[axis]!)) ? undefined : { kind: "hole", from, to }
}

const intersects = (a: ChunkBox, b: ChunkBox): boolean => {
  for (let axis = 0; axis < a.offsets.length; axis++) {
    const [startA, startB] = [a.offsets[axis]!, b.offsets[axis]!]
    if (startA >= startB + b.sizes[axis]! || startB >= startA + a.sizes[axis]!) return false
  }
  return true
}

const product = (sizes: ReadonlyArray<number>): bigint => sizes.reduce((volume, size) => volume * BigInt(size), 1n)
