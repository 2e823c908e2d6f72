/** Choosing one dtype for values that come in several. */
import type { BoundParameter } from "../bridge/Conversion.ts"
import { PlanRefused, quotePath } from "../errors.ts"
import { refuseIntegers } from "./accounting.ts"
import { bitsOf, type DType, isFloat, isInteger } from "../tensor/DType.ts"

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

/** PlanRefused `plan/dtypes` for integers that would become weights: they are codes without scales, or another model's. */
export const refuseIntegerWeights = (
  parameters: ReadonlyArray<BoundParameter>,
  tensors: ReadonlyMap<string, { readonly dtype: DType }>,
  fileOf: (names: ReadonlyArray<string>) => string
): void => {
  const wrong = new Map<string, DType>()
  for (const { parameter, tensors: own } of parameters) {
    if (parameter.integer) continue
    for (const { name } of own) {
      const dtype = tensors.get(name)?.dtype
      if (dtype !== undefined && isInteger(dtype)) wrong.set(name, dtype)
    }
  }
  refuseIntegers(
    Array.from(wrong, ([name, dtype]) => `${name} (${dtype})`),
    () => quotePath(fileOf([...wrong.keys()])),
    "Codes of a quantised model need their scales beside them, in a form that is known."
  )
}
