/** Choosing one dtype for values that come in several. */
import { FormatError } from "../errors.ts"
import { type DType, isFloat } from "../tensor/DType.ts"

/** The narrowest dtype that holds the values of both exactly; FormatError `plan/dtypes` if there is none. */
export const commonDtype = (a: DType, b: DType): DType => {
  if (a === b) return a
  if (isFloat(a) && isFloat(b)) return a === "F64" || b === "F64" ? "F64" : "F32"
  throw new FormatError("plan/dtypes", `${a} and ${b} cannot be stored as one tensor`)
}
