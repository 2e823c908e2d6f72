/** A stored tensor with the changes of adapters, as what the engine does to its elements once they are assembled. Pure. */
import type { Arithmetic, WeightDType } from "../../arithmetic/Arithmetic.ts"
import { bytesOf } from "../../tensor/DType.ts"
import { type Rounding, type RowFactors, withTerms } from "./addTerms.ts"
import type { MergeTerm } from "./Term.ts"

/** One matrix of a tensor: of packed experts, one expert's. */
export interface ChangedMatrix {
  readonly rows: number
  readonly columns: number
  readonly terms: ReadonlyArray<MergeTerm>
}

export interface Adjusting {
  readonly arithmetic: Arithmetic
  readonly dtype: WeightDType
  readonly rounding: Rounding
  readonly rowFactorsOf: RowFactors
}

/** Whole rows in place. */
const adjustRows = ({ arithmetic, dtype, rounding, rowFactorsOf }: Adjusting, { columns, terms }: ChangedMatrix, bytes: Uint8Array, first: number): void =>
  bytes.set(withTerms(arithmetic, { dtype, columns, first, bytes }, terms, rounding, rowFactorsOf))

/** Elements of one matrix from `start` on: rows that are cut are computed whole, for each element depends on its own row and column alone. */
const adjustMatrix = (adjusting: Adjusting, matrix: ChangedMatrix, bytes: Uint8Array, start: number): void => {
  const { columns } = matrix
  const width = bytesOf(adjusting.dtype)
  const rowBytes = columns * width
  const cut = (from: number, to: number): void => {
    const row = Math.floor((start + from / width) / columns)
    const at = (start - row * columns) * width + from
    const whole = new Uint8Array(rowBytes)
    whole.set(bytes.subarray(from, to), at)
    adjustRows(adjusting, matrix, whole, row)
    bytes.set(whole.subarray(at, at + to - from), from)
  }
  const lead = Math.min(bytes.byteLength, ((columns - (start % columns)) % columns) * width)
  const end = lead + Math.floor((bytes.byteLength - lead) / rowBytes) * rowBytes
  if (lead > 0) cut(0, lead)
  if (end > lead) adjustRows(adjusting, matrix, bytes.subarray(lead, end), (start + lead / width) / columns)
  if (end < bytes.byteLength) cut(end, bytes.byteLength)
}

/** What is done to the elements of a tensor that consists of these matrices, one behind the other. */
export const adjustment = (adjusting: Adjusting, matrices: ReadonlyArray<ChangedMatrix>) => {
  const size = matrices[0]!.rows * matrices[0]!.columns
  const width = bytesOf(adjusting.dtype)
  return (bytes: Uint8Array, first: number): void => {
    for (let at = 0; at < bytes.byteLength;) {
      const element = first + at / width
      const index = Math.floor(element / size)
      const end = Math.min(bytes.byteLength, at + ((index + 1) * size - element) * width)
      adjustMatrix(adjusting, matrices[index]!, bytes.subarray(at, end), element - index * size)
      at = end
    }
  }
}
