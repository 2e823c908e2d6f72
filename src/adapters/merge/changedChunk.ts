/**
 * A merge on its way into a Megatron checkpoint: a chunk of a parameter has rows of one or several HF matrices, each with a change of its
 * own. Rows of B are taken in the order of the parameter's rows, columns of A in that of its columns; every element is then the sum of the
 * same numbers in the same order as in the HF tensor, so the bits are those of a merge that is imported. Pure.
 */
import { isWeightDType, type WeightDType } from "../../arithmetic/Arithmetic.ts"
import { narrowed, widened } from "../../arithmetic/convert.ts"
import type { BoundParameter } from "../../bridge/Conversion.ts"
import type { Chunk } from "../../checkpoint/Placement.ts"
import type { TargetArray } from "../../engine/index.ts"
import type { Box } from "../../tensor/Copy.ts"
import { bytesOf, type DType } from "../../tensor/DType.ts"
import { type Factor, factorsOf, type Strip } from "../factors.ts"
import type { RowLengths } from "./addTerms.ts"
import { type Adjusting, adjustment } from "./adjustment.ts"
import type { ChangedTensor, Changing } from "./changes.ts"
import type { Matrix, MergeTerm } from "./Term.ts"

/** Visits the positions of a strip: along the HF axis, and along the parameter's. */
const eachPosition = ({ hf, parameter, shape }: Strip, visit: (hf: number, own: number) => void): void => {
  const walk = (axis: number, at: number, own: number): void => {
    if (axis === shape.length) return visit(at, own)
    for (let i = 0; i < shape[axis]!; i++) walk(axis + 1, at + i * hf.strides[axis]!, own + i * parameter.strides[axis]!)
  }
  walk(0, hf.offset, parameter.offset)
}

/** For every row of a parameter the HF matrix that it comes from (its number and 1), and the row in that. */
const rowsOf = (factors: ReadonlyArray<Factor>, rows: number) => {
  const [owner, hfRow] = [new Uint32Array(rows), new Uint32Array(rows)]
  for (const [number, factor] of factors.entries()) {
    for (const strip of factor.rows) {
      eachPosition(strip, (hf, own) => {
        owner[own] = number + 1
        hfRow[own] = hf
      })
    }
  }
  return { owner, hfRow }
}

/** Rows of a matrix, by number. */
const takeRows = ({ bytes, columns, dtype }: Matrix, wanted: Uint32Array): Matrix => {
  const size = columns * bytesOf(dtype)
  const out = new Uint8Array(wanted.length * size)
  for (const [i, row] of wanted.entries()) out.set(bytes.subarray(row * size, (row + 1) * size), i * size)
  return { dtype, columns, rows: wanted.length, bytes: out }
}

const transposed = ({ bytes, columns, dtype, rows }: Matrix): Matrix => {
  const width = bytesOf(dtype)
  const out = new Uint8Array(bytes.byteLength)
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const [from, to] = [(i * columns + j) * width, (j * rows + i) * width]
      for (let byte = 0; byte < width; byte++) out[to + byte] = bytes[from + byte]!
    }
  }
  return { dtype, columns: rows, rows: columns, bytes: out }
}

const isWhole = (positions: Uint32Array, count: number): boolean => positions.length === count && positions.every((position, i) => position === i)

/** Rows of a chunk that come from one matrix, and what changes them. */
interface Run {
  /** Rows of the chunk. */
  readonly first: number
  readonly count: number
  readonly adjust?: (bytes: Uint8Array, first: number, stored: WeightDType) => void
}

/** A term of the HF matrix as one of these rows and columns of a parameter. */
const ownTerm = (term: MergeTerm, isTransposed: boolean, rows: Uint32Array, columns: Uint32Array): MergeTerm => {
  // Of a matrix that is stored the other way round, the factors are those of its transpose.
  const [b, right] = isTransposed ? [transposed(term.a), transposed(term.b)] : [term.b, term.a]
  return {
    scale: term.scale,
    b: takeRows(b, rows),
    a: isWhole(columns, right.columns) ? right : transposed(takeRows(transposed(right), columns)),
    ...(term.magnitude ? { magnitude: takeRows(term.magnitude, rows) } : {})
  }
}

const runsOf = (bound: BoundParameter, box: Box, dtypeOf: (tensor: string) => WeightDType, changes: ReadonlyMap<string, ChangedTensor>, { arithmetic, lengths }: Changing): ReadonlyArray<Run> => {
  const factors = factorsOf(bound)
  const { hfRow, owner } = rowsOf(factors, bound.parameter.shape[0]!)
  const [[top, left], [height, width]] = [box.offsets, box.sizes] as [[number, number], [number, number]]
  const columnsOf = factors.map((factor) => {
    const columns = new Uint32Array(width)
    for (const strip of factor.columns) eachPosition(strip, (hf, own) => { if (own >= left && own < left + width) columns[own - left] = hf })
    return columns
  })
  const runs: Array<Run> = []
  for (let row = 0; row < height;) {
    const own = owner[top + row]!
    let end = row + 1
    while (end < height && owner[top + end] === own) end++
    const factor = own === 0 ? undefined : factors[own - 1]!
    const change = factor && changes.get(factor.matrix.tensor)
    const at = { first: row, count: end - row }
    if (!factor || !change) runs.push(at)
    else {
      const { expert, tensor, transposed: isTransposed } = factor.matrix
      const { terms } = change.matrices[change.matrices.length === 1 ? 0 : expert!.index]!
      const rows = hfRow.slice(top + row, top + end)
      const found = new Map<MergeTerm, RowLengths>()
      const ownTerms = terms.map((term) => {
        const made = ownTerm(term, isTransposed, rows, columnsOf[own - 1]!)
        const dora = lengths(term)
        if (dora) found.set(made, { norms: Float32Array.from(rows, (r) => dora.norms[r]!), magnitude: made.magnitude! })
        return made
      })
      const adjusting: Adjusting = { arithmetic, dtype: dtypeOf(tensor), rounding: change.rounding, lengths: (term) => found.get(term) }
      runs.push({ ...at, adjust: inDtype(adjusting.dtype, adjustment(adjusting, [{ rows: end - row, columns: width, terms: ownTerms }])) })
    }
    row = end
  }
  return runs
}

/** What a chunk holds, in a dtype that may be wider than the base's: it is changed in that of the base, which holds it exactly. */
const inDtype = (own: WeightDType, adjust: (bytes: Uint8Array, first: number) => void) => (bytes: Uint8Array, first: number, stored: WeightDType): void => {
  if (stored === own) return adjust(bytes, first)
  const values = narrowed(widened({ bytes, dtype: stored }), own)
  adjust(values, first)
  bytes.set(narrowed(widened({ bytes: values, dtype: own }), stored))
}

/** Chunks whose terms are at hand: those that are being written, not all that there are. */
const MOST_CHUNKS = 8

/** Makes arrays of chunks what they become. `dtypeOf`: of a tensor of the base. */
export const changingChunks = (changes: ReadonlyMap<string, ChangedTensor>, changing: Changing, dtypeOf: (tensor: string) => DType) => {
  const recent = new Map<Chunk<BoundParameter>, ReadonlyArray<Run>>()
  const baseDtype = (tensor: string): WeightDType => {
    const dtype = dtypeOf(tensor)
    if (!isWeightDType(dtype)) throw new RangeError(`${tensor}: no arithmetic with ${dtype}`)
    return dtype
  }
  const runsAt = (chunk: Chunk<BoundParameter>): ReadonlyArray<Run> => {
    const known = recent.get(chunk)
    if (known) return known
    const made = runsOf(chunk.of, chunk.box, baseDtype, changes, changing)
    recent.set(chunk, made)
    if (recent.size > MOST_CHUNKS) recent.delete(recent.keys().next().value!)
    return made
  }
  return (array: TargetArray, chunk: Chunk<BoundParameter>): TargetArray => {
    const { dtype, id, shape } = array
    if (!chunk.of.tensors.some(({ name }) => changes.has(name))) return array
    if (!isWeightDType(dtype)) throw new RangeError(`${id}: no arithmetic with ${dtype}`)
    const columns = chunk.box.sizes[1]!
    const size = bytesOf(dtype)
    const adjust = (bytes: Uint8Array, first: number): void => {
      const end = first + bytes.byteLength / size
      for (const run of runsAt(chunk)) {
        const [start, stop] = [run.first * columns, (run.first + run.count) * columns]
        if (!run.adjust || stop <= first || start >= end) continue
        const [from, to] = [Math.max(start, first), Math.min(stop, end)]
        run.adjust(bytes.subarray((from - first) * size, (to - first) * size), from - start, dtype)
      }
    }
    return { id, dtype, shape, copies: () => array.copies(), adjust }
  }
}
