/** An inspection as CSV, in pieces. */
import type { Inspection, TensorRow } from "../api/checkpoints.ts"

/** Tensors per piece. */
const ROWS = 1000

/** A field as RFC 4180 wants it; a name that a spreadsheet would take for a formula is quoted with a leading apostrophe. */
const field = (cell: string | number | undefined): string => {
  const text = cell === undefined ? "" : String(cell)
  const safe = typeof cell === "string" && /^[=+@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/** One row per tensor, or per chunk where chunks are listed. */
export function* inspectionCsv(i: Inspection): Generator<string> {
  const boxes = i.tensors.some((t) => t.boxes)
  const measured = i.tensors.some((t) => t.statistics)
  yield `${[
    "name", "dtype", "shape", "bytes", "role", "component", "layer", "chunks", "files",
    ...(boxes ? ["chunk_offsets", "chunk_sizes", "chunk_file", "chunk_begin", "chunk_length"] : []),
    ...(measured ? ["min", "max", "mean", "std", "zeros", "nans", "infinities"] : [])
  ].join(",")}\n`
  for (let from = 0; from < i.tensors.length; from += ROWS) yield `${i.tensors.slice(from, from + ROWS).flatMap((t) => csvLines(t, boxes, measured)).join("\n")}\n`
}

const csvLines = (t: TensorRow, boxes: boolean, measured: boolean): ReadonlyArray<string> => {
  const s = t.statistics
  const before = [t.name, t.dtype, t.shape.join("x"), t.bytes, t.role, t.component, t.layer, t.chunks, t.files.join(" ")]
  const after = measured ? [s?.min, s?.max, s?.mean, s?.std, s?.zeros, s?.nans, s?.infinities] : []
  const rows = boxes
    ? (t.boxes ?? []).map((c) => [...before, c.offsets.join("x"), c.sizes.join("x"), c.file, c.offset, c.length, ...after])
    : [[...before, ...after]]
  return rows.map((row) => row.map(field).join(","))
}
