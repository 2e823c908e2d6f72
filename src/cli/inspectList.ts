/** One line per tensor, in pieces; on a narrow terminal the name has a line of its own. */
import { quote } from "../errors.ts"
import type { Inspection, TensorRow } from "../api/checkpoints.ts"
import type { Statistics } from "../api/checkpoints.ts"
import { shapeText, where } from "./inspectTree.ts"
import { bad, bytes, dim, grouped, plural, terminalWidth } from "./text.ts"

/** Tensors per piece. */
const ROWS = 1000

/** Four significant digits, without noise. */
const value = (n: number | undefined): string => (n === undefined ? "-" : n === 0 ? "0" : String(Number(n.toPrecision(4))))

const HEAD = ["tensor", "dtype", "shape", "size", "chunks", "in"]
const MEASURES = ["min", "max", "mean", "std", "zeros", "NaN/inf"]
/** Columns that are read from the right. */
const NUMERIC: ReadonlySet<number> = new Set([3, 4, 6, 7, 8, 9, 10, 11])

const measures = (s: Statistics | undefined): ReadonlyArray<string> =>
  s ? [value(s.min), value(s.max), value(s.mean), value(s.std), grouped(s.zeros), grouped(s.nans + s.infinities)] : MEASURES.map(() => "-")

const cellsOf = (t: TensorRow, measured: boolean): ReadonlyArray<string> =>
  [quote(t.name), t.dtype, shapeText(t.shape), bytes(t.bytes), String(t.chunks), where(t.files), ...(measured ? measures(t.statistics) : [])]

/** What a narrow terminal shows below the name. */
const below = (t: TensorRow, measured: boolean): string => {
  const [, dtype, shape, size, , place, ...numbers] = cellsOf(t, measured)
  const lines = [`    ${dtype} ${shape}  ${size}  ${plural(t.chunks, "chunk")}  ${place}`.trimEnd()]
  if (t.statistics) {
    const named = numbers.map((text, k) => `${MEASURES[k]} ${text}`)
    lines.push(`    ${named.slice(0, 4).join("  ")}`, `    ${named.slice(4).join("  ")}`)
  }
  return lines.join("\n")
}

export function* listPieces(i: Inspection): Generator<string> {
  const measured = i.tensors.some((t) => t.statistics)
  const heads = [...HEAD, ...(measured ? MEASURES : [])]
  const widths = heads.map((text) => text.length)
  for (const t of i.tensors) for (const [k, cell] of cellsOf(t, measured).entries()) widths[k] = Math.max(widths[k]!, cell.length)
  const aligned = widths.reduce((sum, width) => sum + 2 + width, 0) <= terminalWidth()
  const line = (cells: ReadonlyArray<string>) =>
    `  ${cells.map((cell, k) => (NUMERIC.has(k) ? cell.padStart(widths[k]!) : cell.padEnd(widths[k]!))).join("  ").trimEnd()}`
  const lines = (t: TensorRow): ReadonlyArray<string> => [
    ...(aligned ? [line(cellsOf(t, measured))] : [`  ${quote(t.name)}`, below(t, measured)]),
    ...(t.suspicion === undefined ? [] : [`    ${bad(t.suspicion)}`]),
    ...(t.boxes ?? []).map((c) => dim(`    ${shapeText(c.offsets)} + ${shapeText(c.sizes)}  ${quote(c.file)}, bytes ${c.offset} to ${c.offset + c.length}`))
  ]
  if (aligned) yield dim(line(heads))
  for (let from = 0; from < i.tensors.length; from += ROWS) {
    yield (aligned || from > 0 ? "\n" : "") + i.tensors.slice(from, from + ROWS).flatMap(lines).join("\n")
  }
}
