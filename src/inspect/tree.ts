/**
 * Rows that differ only in their numbers drawn together, as a tree of modules: a model of 60 layers and 512 experts is a page,
 * not a book.
 */
import type { DType } from "../tensor/DType.ts"
import type { TensorRow } from "./Inspection.ts"

/** Tensors of one pattern, dtype and shape. */
export interface RowGroup {
  /** Segments of the name; numbers that vary are given as ranges: `{0-2,4-6}`. */
  readonly segments: ReadonlyArray<string>
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  readonly count: number
  /** Of all of them. */
  readonly bytes: number
  readonly chunks: number
  readonly files: ReadonlyArray<string>
}

/** A module of the model, with all that is below it. */
export interface TreeNode {
  /** One or more segments, joined by dots. */
  readonly label: string
  readonly bytes: number
  readonly tensors: number
  readonly children: ReadonlyArray<TreeNode>
  /** Set for a leaf. */
  readonly group?: RowGroup
}

/** `0-2,4-6` */
export const ranges = (numbers: Iterable<number>): string => {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b)
  const out: Array<string> = []
  for (let i = 0; i < sorted.length;) {
    let end = i
    while (end + 1 < sorted.length && sorted[end + 1] === sorted[end]! + 1) end++
    out.push(end === i ? String(sorted[i]) : `${sorted[i]}${end === i + 1 ? "," : "-"}${sorted[end]}`)
    i = end + 1
  }
  return out.join(",")
}

interface Collecting {
  readonly segments: ReadonlyArray<string>
  readonly numbers: ReadonlyArray<Set<number> | undefined>
  readonly first: TensorRow
  files: ReadonlyArray<string>
  count: number
  bytes: number
  chunks: number
}

const NUMBER = /^\d{1,9}$/

/** Most rows of a group lie in the same files: they share one list. */
const withFiles = (known: ReadonlyArray<string>, more: ReadonlyArray<string>): ReadonlyArray<string> =>
  known === more || more.every((file) => known.includes(file)) ? known : [...new Set([...known, ...more])]

/** In order of first appearance. */
export const groupRows = (rows: Iterable<TensorRow>): ReadonlyArray<RowGroup> => {
  const groups = new Map<string, Collecting>()
  for (const row of rows) {
    const segments = row.name.split(".")
    const key = `${segments.map((s) => (NUMBER.test(s) ? "#" : s)).join(".")} ${row.dtype} ${row.shape.join()}`
    let group = groups.get(key)
    if (!group) {
      const numbers = segments.map((s) => (NUMBER.test(s) ? new Set<number>() : undefined))
      groups.set(key, group = { segments, numbers, first: row, files: row.files, count: 0, bytes: 0, chunks: 0 })
    }
    group.count++
    group.bytes += row.bytes
    group.chunks += row.chunks
    group.files = withFiles(group.files, row.files)
    for (const [i, set] of group.numbers.entries()) set?.add(Number(segments[i]))
  }
  return [...groups.values()].map(({ bytes, chunks, count, files, first, numbers, segments }) => ({
    segments: segments.map((segment, i) => {
      const set = numbers[i]
      return set && set.size > 1 ? `{${ranges(set)}}` : segment
    }),
    dtype: first.dtype,
    shape: first.shape,
    count,
    bytes,
    chunks,
    files: files.length > 1 ? files.toSorted() : files
  }))
}

interface Building {
  readonly label: string
  /** Leaves, which are most nodes, have none. */
  children?: Map<string, Building>
  group?: RowGroup
}

const NONE: ReadonlyArray<never> = []

const freeze = (node: Building): TreeNode => {
  let at = node
  let label = node.label
  // A chain of only children is one line.
  while (!at.group && at.children?.size === 1) {
    at = at.children.values().next().value!
    label = `${label}.${at.label}`
  }
  const children = at.children ? [...at.children.values()].map(freeze) : NONE
  const own = at.group
  return {
    label,
    bytes: children.reduce((sum, c) => sum + c.bytes, own?.bytes ?? 0),
    tensors: children.reduce((sum, c) => sum + c.tensors, own?.count ?? 0),
    children,
    ...(own ? { group: own } : {})
  }
}

/** Names of hostile files may have any number of segments; a tree deeper than this is cut short at one line. */
const DEEPEST = 32

/** The modules of some rows as trees, one per first segment. */
export const treeOf = (rows: Iterable<TensorRow>): ReadonlyArray<TreeNode> => {
  const root: Building = { label: "" }
  for (const group of groupRows(rows)) {
    const segments = group.segments.length <= DEEPEST
      ? group.segments
      : [...group.segments.slice(0, DEEPEST - 1), group.segments.slice(DEEPEST - 1).join(".")]
    let at = root
    for (const [i, label] of segments.entries()) {
      // A leaf keeps its own line even if a module has its name, or another dtype or shape.
      const children = at.children ??= new Map()
      const key = i === segments.length - 1 ? unusedKey(children, label) : label
      let next = children.get(key)
      if (!next) children.set(key, next = { label })
      at = next
    }
    at.group = group
  }
  return root.children ? [...root.children.values()].map(freeze) : []
}

const unusedKey = (children: ReadonlyMap<string, Building>, label: string): string => {
  let key = label
  for (let n = 1; children.has(key); n++) key = `${label}\u0000${n}`
  return key
}
