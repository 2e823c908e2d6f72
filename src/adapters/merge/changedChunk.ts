/**
 * A merge on its way into a Megatron checkpoint: a chunk of a parameter has rows of one or several HF matrices, each with a change of its
 * own. Rows of B are taken in the order of the parameter's rows, columns of A in that of its columns; every element is then the sum of the
 * same numbers in the same order as in the HF tensor, so the bits are those of a merge that is imported. Pure.
 */
import { isWeightDType, type WeightDType } from "../../arithmetic/Arithmetic.ts"
import { narrowed, widened } from "../../arithmetic/convert.ts"
import { type MatrixSum, sumsWithin } from "../../arithmetic/matrixSums.ts"
import type { BoundParameter } from "../../bridge/Conversion.ts"
import type { Chunk } from "../../checkpoint/Placement.ts"
import { adjusted, type TargetArray } from "../../engine/index.ts"
import { volume } from "../../tensor/Copy.ts"
import { bytesOf, type DType } from "../../tensor/DType.ts"
import { type Factor, factorsOf, type Strip } from "../factors.ts"
import { adjustment } from "./adjustment.ts"
import { type ChangedTensor, type Computing, matrixSum, unsuitable } from "./changes.ts"
import { type Matrix, type MergeTerm, sharedBytes } from "./Term.ts"

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
  const out = sharedBytes(wanted.length * size)
  for (const [i, row] of wanted.entries()) out.set(bytes.subarray(row * size, (row + 1) * size), i * size)
  return { dtype, columns, rows: wanted.length, bytes: out }
}

const transposed = ({ bytes, columns, dtype, rows }: Matrix): Matrix => {
  const width = bytesOf(dtype)
  const out = sharedBytes(bytes.byteLength)
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const [from, to] = [(i * columns + j) * width, (j * rows + i) * width]
      for (let byte = 0; byte < width; byte++) out[to + byte] = bytes[from + byte]!
    }
  }
  return { dtype, columns: rows, rows: columns, bytes: out }
}

const isWhole = (positions: Uint32Array, count: number): boolean => positions.length === count && positions.every((position, i) => position === i)

/** A box of a parameter, in the parameter's coordinates. */
export type ParameterBox = Pick<Chunk<BoundParameter>, "of" | "box">

/** Where in an array the elements of a box lie, one behind the other. */
export interface PlacedBox extends ParameterBox {
  readonly start: number
}

/** Rows of a box that come from one matrix, and what changes them. */
interface Run {
  readonly elements: number
  readonly sum?: MatrixSum
  /** Where no sum in place does it. */
  readonly adjust?: (bytes: Uint8Array, first: number) => void
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

const runsOf = ({ box, of }: ParameterBox, stored: WeightDType, { arithmetic, changes, dtypeOf, rowFactorsOf }: ChangingBoxes): ReadonlyArray<Run> => {
  const factors = factorsOf(of)
  const { hfRow, owner } = rowsOf(factors, of.parameter.shape[0]!)
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
    const elements = (end - row) * width
    if (!factor || !change) runs.push({ elements })
    else {
      const { expert, tensor, transposed: isTransposed } = factor.matrix
      const { terms } = change.matrices[change.matrices.length === 1 ? 0 : expert!.index]!
      const rows = hfRow.slice(top + row, top + end)
      const found = new Map<MergeTerm, Float32Array>()
      const ownTerms = terms.map((term) => {
        const made = ownTerm(term, isTransposed, rows, columnsOf[own - 1]!)
        const rowFactors = rowFactorsOf(term)
        if (rowFactors) found.set(made, Float32Array.from(rows, (r) => rowFactors[r]!))
        return made
      })
      const dtype = dtypeOf(tensor)
      if (!isWeightDType(dtype)) throw unsuitable(tensor, dtype)
      const ownFactors = (term: MergeTerm) => found.get(term)
      const sum = dtype === stored ? matrixSum({ columns: width, terms: ownTerms }, dtype, change.rounding, ownFactors) : undefined
      const adjust = () => adjustment({ arithmetic, dtype, rounding: change.rounding, rowFactorsOf: ownFactors }, [{ rows: end - row, columns: width, terms: ownTerms }])
      runs.push(sum ? { elements, sum } : { elements, adjust: inDtype(dtype, stored, adjust()) })
    }
    row = end
  }
  return runs
}

/** What a chunk holds, in a dtype that may be wider than the base's: it is changed in that of the base, which holds it exactly. */
const inDtype = (own: WeightDType, stored: WeightDType, adjust: (bytes: Uint8Array, first: number) => void) => (bytes: Uint8Array, first: number): void => {
  if (stored === own) return adjust(bytes, first)
  const values = narrowed(widened({ bytes, dtype: stored }), own)
  adjust(values, first)
  bytes.set(narrowed(widened({ bytes: values, dtype: own }), stored))
}

/** What is at hand: of boxes that are being written, not of all that there are. */
const MOST_RECENT = 8

/** The values of the keys asked for last. */
const remembered = <K, V>(make: (key: K) => V): ((key: K) => V) => {
  const recent = new Map<K, V>()
  return (key) => {
    if (!recent.has(key)) {
      recent.set(key, make(key))
      if (recent.size > MOST_RECENT) recent.delete(recent.keys().next().value!)
    }
    return recent.get(key)!
  }
}


export interface ChangingBoxes extends Computing {
  readonly changes: ReadonlyMap<string, ChangedTensor>
  /** Of a tensor of the base. */
  readonly dtypeOf: (tensor: string) => DType
}

export const isChanged = ({ tensors }: BoundParameter, changes: ReadonlyMap<string, ChangedTensor>): boolean => tensors.some(({ name }) => changes.has(name))


/** Applies the merge to arrays that hold boxes of parameters. */
export const changingBoxes = (changing: ChangingBoxes) => {
  const boxesOf = remembered(({ boxes, dtype }: { readonly boxes: () => ReadonlyArray<PlacedBox>; readonly dtype: WeightDType }) => boxes().map((box) => ({ ...box, dtype })))
  const runsAt = remembered((box: PlacedBox & { readonly dtype: WeightDType }) => runsOf(box, box.dtype, changing))
  return (array: TargetArray, boxes: () => ReadonlyArray<PlacedBox>): TargetArray => {
    const { dtype, id } = array
    if (!isWeightDType(dtype)) throw unsuitable(id, dtype)
    const width = bytesOf(dtype)
    const asked = { boxes, dtype }
    /** The boxes that hold some of these elements, and which of theirs they are. */
    const within = (first: number, count: number) => boxesOf(asked).flatMap((box) => {
      const [from, to] = [Math.max(first, box.start), Math.min(first + count, box.start + volume(box.box.sizes))]
      return from < to ? [{ runs: runsAt(box), own: from - box.start, at: (from - first) * width, count: to - from }] : []
    })
    return adjusted(array, {
      sums: (at, first, count) => within(first, count).flatMap((part) => sumsWithin(part.runs, at + part.at, part.own, part.count)),
      bytes: (bytes, first) => {
        for (const { at, count, own, runs } of within(first, bytes.byteLength / width)) {
          let begin = 0
          for (const { adjust, elements } of runs) {
            const [from, to] = [Math.max(begin, own), Math.min(begin + elements, own + count)]
            if (adjust && from < to) adjust(bytes.subarray(at + (from - own) * width, at + (to - own) * width), from - begin)
            begin += elements
          }
        }
      }
    })
  }
}

/** Applies the merge to the arrays of chunks. */
export const changingChunks = (changing: ChangingBoxes) => {
  const changed = changingBoxes(changing)
  return (array: TargetArray, { box, of }: Chunk<BoundParameter>): TargetArray => (isChanged(of, changing.changes) ? changed(array, () => [{ box, of, start: 0 }]) : array)
}
