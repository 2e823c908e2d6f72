/** Choosing one dtype for values that come in several. */
import { PlanRefused } from "../errors.ts"
import { bitsOf, type DType, isFloat } from "../tensor/DType.ts"

/** The narrowest dtype that holds the values of both exactly; PlanRefused `plan/dtypes` naming `tensor` if there is none. */
export const commonDtype = (a: DType, b: DType, tensor: string): DType => {
  if (a === b) return a
  if (isFloat(a) && isFloat(b)) return a === "F64" || b === "F64" ? "F64" : "F32"
  throw new PlanRefused({ code: "plan/dtypes", problem: `${a} and ${b} values would have to be stored as one tensor, which no dtype allows`, names: [tensor] })
}

/** PlanRefused `plan/dtypes` for a weight of a dtype whose elements have no address of their own. */
export const refuseSubByte = (dtype: DType, tensor: string): void => {
  if (bitsOf(dtype) % 8 === 0) return
  throw new PlanRefused({ code: "plan/dtypes", problem: `${dtype} values without scales are no weights; torch has no such dtype`, names: [tensor] })
}
