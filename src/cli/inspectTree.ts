/** The modules of a checkpoint as a tree. */
import { stripVTControlCharacters } from "node:util"
import { quote } from "../errors.ts"
import type { TensorRow } from "../api/checkpoints.ts"
import { rankOf } from "../api/checkpoints.ts"
import { ranges, type TreeNode, treeOf } from "../api/checkpoints.ts"
import { bytes, dim, terminalWidth } from "./text.ts"

/** Ranks of data files; other files by name. */
export const where = (files: ReadonlyArray<string>): string => {
  const found = files.map(rankOf)
  if (files.length > 0 && found.every((r) => r !== undefined)) {
    const beside = found.some((r) => r.number > 0)
    return `rank ${ranges(found.map((r) => r.rank))}${beside ? " (beside)" : ""}`
  }
  return files.length <= 2 ? files.map(quote).join(", ") : `${files.length} files`
}

export const shapeText = (sizes: ReadonlyArray<number>): string => `[${sizes.join(", ")}]`

interface Line {
  readonly label: string
  /** Dtype, shape, number. */
  readonly what: ReadonlyArray<string>
  readonly size: string
  readonly where: string
}

const treeLines = (nodes: ReadonlyArray<TreeNode>, depth: number, out: Array<Line>): void => {
  for (const node of nodes) {
    const label = "  ".repeat(depth) + quote(node.label)
    const group = node.group
    if (group) out.push({ label, what: [group.dtype, shapeText(group.shape), group.count > 1 ? `×${group.count}` : ""], size: bytes(group.bytes), where: where(group.files) })
    else out.push({ label, what: ["", "", node.tensors > 1 ? dim(`${node.tensors} tensors`) : ""], size: dim(bytes(node.bytes)), where: "" })
    treeLines(node.children, depth + 1, out)
  }
}

const visible = (text: string): number => stripVTControlCharacters(text).length
const widest = (texts: Iterable<string>): number => Iterator.from(texts).reduce((most, text) => Math.max(most, visible(text)), 0)
const left = (text: string, width: number): string => text + " ".repeat(Math.max(0, width - visible(text)))
const right = (text: string, width: number): string => " ".repeat(Math.max(0, width - visible(text))) + text

/** Everything in columns where the terminal has room for them; else what a tensor is stands right behind its name. */
export const treeText = (rows: ReadonlyArray<TensorRow>): string => {
  const lines: Array<Line> = []
  treeLines(treeOf(rows), 0, lines)
  if (lines.length === 0) return dim("  no tensors")
  const [label, size, place] = [widest(lines.map((l) => l.label)), widest(lines.map((l) => l.size)), widest(lines.map((l) => l.where))]
  const columns = [0, 1, 2].map((k) => widest(lines.map((l) => l.what[k]!)))
  const full = 2 + label + columns.reduce((sum, width) => sum + 2 + width, 0) + 2 + size + (place === 0 ? 0 : 2 + place)
  const width = terminalWidth()
  const aligned = full <= width
  const front = (l: Line): string => aligned
    ? [left(l.label, label), ...l.what.map((cell, k) => left(cell, columns[k]!))].join("  ")
    : [l.label, l.what.filter((cell) => cell !== "").join(" ")].filter((part) => part !== "").join("  ")
  const room = aligned ? full : width
  return lines.map((l) => `  ${left(front(l), room - 4 - size - (place === 0 ? 0 : 2 + place))}  ${right(l.size, size)}  ${l.where}`.trimEnd()).join("\n")
}
