/** Choosing one dtype for values that come in several. */
import { PlanRefused, quotePath } from "../errors.ts"
import { bitsOf, type DType, isFloat } from "../tensor/DType.ts"

/** The file that a tensor is read from, for messages. */
type FileOf = (tensor: string) => string

const refused = (problem: string, tensor: string, fileOf: FileOf | undefined): PlanRefused =>
  new PlanRefused({ code: "plan/dtypes", problem: `${fileOf ? `${quotePath(fileOf(tensor))}: ` : ""}${problem}`, names: [tensor] })

/** The narrowest dtype that holds the values of both exactly; PlanRefused `plan/dtypes` naming `tensor` if there is none. */
export const commonDtype = (a: DType, b: DType, tensor: string, fileOf?: FileOf): DType => {
  if (a === b) return a
  if (isFloat(a) && isFloat(b)) return a === "F64" || b === "F64" ? "F64" : "F32"
  throw refused(`${a} and ${b} values would have to be stored as one tensor, which no dtype allows`, tensor, fileOf)
}

/** PlanRefused `plan/dtypes` for a weight of a dtype whose elements have no address of their own. */
export const refuseSubByte = (dtype: DType, tensor: string, fileOf: FileOf): void => {
  if (bitsOf(dtype) % 8 === 0) return
  throw refused(`${dtype} values without scales are no weights; torch has no such dtype`, tensor, fileOf)
}
