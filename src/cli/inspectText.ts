/** An inspection as text, JSON and CSV. */
import { stripVTControlCharacters } from "node:util"
import type { Inspection, TensorRow } from "../inspect/Inspection.ts"
import { rankOf } from "../inspect/names.ts"
import type { Statistics } from "../inspect/Statistics.ts"
import { ranges, type TreeNode, treeOf } from "../inspect/tree.ts"
import { quote, some } from "../errors.ts"
import { wrap } from "./help.ts"
import { bad, bold, bytes, dim, plural, table } from "./text.ts"

const number = (n: number): string => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, " ")

/** Four significant digits, without noise. */
const value = (n: number | undefined): string => (n === undefined ? "-" : n === 0 ? "0" : String(Number(n.toPrecision(4))))

const KINDS = { safetensors: "safetensors", megatron: "Megatron checkpoint", items: "data file of a Megatron checkpoint", archive: "torch.save file" } as const

/** Ranks of data files; other files by name. */
const where = (files: ReadonlyArray<string>): string => {
  const found = files.map(rankOf)
  if (files.length > 0 && found.every((r) => r !== undefined)) {
    const beside = found.some((r) => r.number > 0)
    return `rank ${ranges(found.map((r) => r.rank))}${beside ? " (beside)" : ""}`
  }
  return files.length <= 2 ? files.map(quote).join(", ") : `${files.length} files`
}

/** Sentences are wrapped, tables are not. */
const TEXT_WIDTH = 74

/** Fields, as many to a line as fit. */
const wrapped = (parts: ReadonlyArray<string>, width = 78): string => {
  const lines: Array<string> = []
  for (const part of parts) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + part.length + 4 <= width) lines[lines.length - 1] = `${last}  ${part}`
    else lines.push(`  ${part}`)
  }
  return lines.join("\n")
}

const head = (i: Inspection): string => {
  const kind = `${KINDS[i.kind]}${i.form ? `, ${i.form === "mimo" ? "MegatronMIMO" : "standard"}` : ""}`
  const lines = [`${bold(i.model.name ?? kind)} ${i.model.name ? dim(`(${kind})`) : ""}`.trimEnd(), `  ${i.kind === "megatron" ? i.directory : i.path}`]
  if (i.model.fields.length > 0) lines.push(wrapped(i.model.fields.map(([field, text]) => `${field} ${text}`)))
  const { layout } = i.model
  if (layout.length > 0) {
    lines.push(wrapped(layout.map((l) =>
      `${l.component}: ${(["tp", "pp", "dp", "cp", "ep", "etp"] as const).map((k) => `${k}=${l[k]}`).join(" ")}${layout.length > 1 ? ` from rank ${l.rankOffset}` : ""}`)))
  }
  const facts = i.common.filter(([key]) => /^(iteration|checkpoint_version|num_floating_point_operations_so_far)$/.test(key) || i.kind === "archive")
  if (facts.length > 0) lines.push(wrapped(facts.slice(0, 24).map(([key, text]) => `${key} ${text}`)))
  return lines.join("\n")
}

const totals = (i: Inspection): string => {
  const t = i.totals
  return `  ${plural(t.tensors, "tensor")}, ${number(t.elements)} elements, ${bytes(t.bytes)}; ` +
    `${plural(t.chunks, "chunk")} and ${plural(t.objects, "object")} in ${plural(t.files, "file")} of ${bytes(t.fileBytes)}`
}

const sums = (i: Inspection): string =>
  table([
    ["component", "tensors", "elements", "size", "dtypes"],
    ...i.components.map((c) => [c.name, String(c.tensors), number(c.elements), bytes(c.bytes), c.dtypes.join(" ")])
  ]) + "\n\n" +
  table([["dtype", "tensors", "elements", "size"], ...i.dtypes.map((d) => [d.dtype, String(d.tensors), number(d.elements), bytes(d.bytes)])])

/** Layers of equal size drawn together. */
const layers = (i: Inspection): string => {
  const groups: Array<{ stack: string; numbers: Array<number>; tensors: number; bytes: number }> = []
  for (const { bytes: size, layer, stack, tensors } of i.layers) {
    const same = groups.find((g) => g.stack === stack && g.tensors === tensors && g.bytes === size)
    if (same) same.numbers.push(layer)
    else groups.push({ stack, numbers: [layer], tensors, bytes: size })
  }
  return table([
    ["layers", "number", "tensors each", "size each"],
    ...groups.map((g) => [`${quote(g.stack)} ${ranges(g.numbers)}`, String(g.numbers.length), String(g.tensors), bytes(g.bytes)])
  ])
}

const MOST_FILES = 40

const files = (i: Inspection): string =>
  table([
    ["file", "size", "tensors", "chunks", "objects", "holds"],
    ...i.files.slice(0, MOST_FILES).map((f) => [quote(f.name), bytes(f.bytes), String(f.tensors), String(f.chunks), String(f.objects), f.components.join(" ")])
  ]) + (i.files.length > MOST_FILES ? `\n  ${dim(`… ${i.files.length} files in all (--json lists every one)`)}` : "")

const shape = (sizes: ReadonlyArray<number>): string => `[${sizes.join(", ")}]`

interface Line {
  readonly label: string
  readonly columns: ReadonlyArray<string>
}

const treeLines = (nodes: ReadonlyArray<TreeNode>, depth: number, out: Array<Line>): void => {
  for (const node of nodes) {
    const label = "  ".repeat(depth) + quote(node.label)
    const group = node.group
    if (group) out.push({ label, columns: [group.dtype, shape(group.shape), group.count > 1 ? `×${group.count}` : "", bytes(group.bytes), where(group.files)] })
    else out.push({ label, columns: ["", "", node.tensors > 1 ? dim(`${node.tensors} tensors`) : "", dim(bytes(node.bytes)), ""] })
    treeLines(node.children, depth + 1, out)
  }
}

const SEPARATOR = "  "
const visible = (text: string): number => stripVTControlCharacters(text).length

const aligned = (lines: ReadonlyArray<Line>): string => {
  const width = Math.max(...lines.map((l) => l.label.length))
  const columns = [0, 1, 2, 3, 4].map((k) => Math.max(...lines.map((l) => visible(l.columns[k] ?? ""))))
  return lines.map(({ columns: cells, label }) => {
    const padded = cells.map((cell, k) => (k === 3 ? " ".repeat(columns[k]! - visible(cell)) + cell : cell + " ".repeat(columns[k]! - visible(cell))))
    return `  ${label.padEnd(width)}${SEPARATOR}${padded.join(SEPARATOR)}`.trimEnd()
  }).join("\n")
}

const tree = (rows: ReadonlyArray<TensorRow>): string => {
  const lines: Array<Line> = []
  treeLines(treeOf(rows), 0, lines)
  return lines.length === 0 ? dim("  no tensors") : aligned(lines)
}

const statistics = (s: Statistics | undefined): ReadonlyArray<string> =>
  s ? [value(s.min), value(s.max), value(s.mean), value(s.std), number(s.zeros), number(s.nans + s.infinities)] : ["-", "-", "-", "-", "-", "-"]

/** One line per tensor; its chunks below it, where they are listed. */
const list = (i: Inspection): string => {
  const measured = i.tensors.some((t) => t.statistics)
  const rows = i.tensors.map((t) => [
    quote(t.name), t.dtype, shape(t.shape), bytes(t.bytes), String(t.chunks), where(t.files), ...(measured ? statistics(t.statistics) : [])
  ])
  const lines = table([["tensor", "dtype", "shape", "size", "chunks", "in", ...(measured ? ["min", "max", "mean", "std", "zeros", "NaN/inf"] : [])], ...rows]).split("\n")
  return [lines[0], ...i.tensors.flatMap((t, k) => [
    lines[k + 1],
    ...(t.suspicion === undefined ? [] : [`    ${bad(t.suspicion)}`]),
    ...(t.boxes ?? []).map((c) => dim(`    [${c.offsets.join(", ")}] + [${c.sizes.join(", ")}]  ${quote(c.file)}, bytes ${c.offset} to ${c.offset + c.length}`))
  ])].join("\n")
}

export interface InspectTextOptions {
  /** One line per tensor instead of the tree. */
  readonly list: boolean
  /** Sums only. */
  readonly summary: boolean
}

export const renderInspection = (i: Inspection, options: InspectTextOptions): string => {
  const blocks = [head(i), totals(i)]
  if (i.components.length > 0) blocks.push(sums(i))
  if (i.layers.length > 0) blocks.push(layers(i))
  if (i.kind === "megatron" || i.files.length > 1) blocks.push(files(i))
  if (!options.summary) {
    const shown = i.tensors.length === i.of ? "" : dim(` ${i.tensors.length} of ${i.of}`)
    blocks.push(`${bold("tensors")}${shown}\n${options.list ? list(i) : tree(i.tensors.filter((t) => t.role !== "training" || i.tensors.length !== i.of))}`)
  }
  const points = i.findings.map((f) => `  ${wrap(`${f.text}${f.names.length > 0 ? `: ${some(f.names, 2)}` : ""}`, TEXT_WIDTH).join("\n    ")}`)
  if (points.length > 0) blocks.push(`${bold("worth knowing")}\n${points.join("\n")}`)
  for (const note of i.notes) blocks.push(`${bold("note")} ${note}`)
  return blocks.join("\n\n")
}

/** A field as RFC 4180 wants it; a name that a spreadsheet would take for a formula is quoted with a leading apostrophe. */
const field = (cell: string | number | undefined): string => {
  const text = cell === undefined ? "" : String(cell)
  const safe = typeof cell === "string" && /^[=+@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** One row per tensor, or per chunk where chunks are listed. */
export const inspectionCsv = (i: Inspection): string => {
  const boxes = i.tensors.some((t) => t.boxes)
  const measured = i.tensors.some((t) => t.statistics)
  const lines = [[
    "name", "dtype", "shape", "bytes", "role", "component", "layer", "chunks", "files",
    ...(boxes ? ["chunk_offsets", "chunk_sizes", "chunk_file", "chunk_begin", "chunk_length"] : []),
    ...(measured ? ["min", "max", "mean", "std", "zeros", "nans", "infinities"] : [])
  ].join(",")]
  for (const t of i.tensors) {
    const s = t.statistics
    const before = [t.name, t.dtype, t.shape.join("x"), t.bytes, t.role, t.component, t.layer, t.chunks, t.files.join(" ")]
    const after = measured ? [s?.min, s?.max, s?.mean, s?.std, s?.zeros, s?.nans, s?.infinities] : []
    if (!boxes) lines.push([...before, ...after].map(field).join(","))
    else for (const c of t.boxes ?? []) {
      lines.push([...before, c.offsets.join("x"), c.sizes.join("x"), c.file, c.offset, c.length, ...after].map(field).join(","))
    }
  }
  return lines.join("\n")
}

/** Rows per piece of text. */
const ROWS = 1000

/**
 * The JSON of an inspection in pieces: as {@link emit} would print it, but for the tensors, which take a line each. A hundred
 * thousand of them need no string of their own this way.
 */
export function* inspectionJson({ tensors, ...rest }: Inspection): Generator<string> {
  const head = JSON.stringify({ ok: true, ...rest }, undefined, 2)
  yield `${head.slice(0, head.lastIndexOf("\n}"))},\n  "tensors": [`
  for (let from = 0; from < tensors.length; from += ROWS) {
    const rows = tensors.slice(from, from + ROWS).map((row) => `\n    ${JSON.stringify(row)}`)
    yield `${from === 0 ? "" : ","}${rows.join(",")}`
  }
  yield `${tensors.length === 0 ? "" : "\n  "}]\n}\n`
}
