/** Arrays whose values are multiplied by a power of two, which rounds none (short of the smallest and largest numbers). */
import { isWeightDType } from "../arithmetic/Arithmetic.ts"
import { narrowed, widened } from "../arithmetic/convert.ts"
import { adjusted, type TargetArray } from "../engine/index.ts"

/** The same array for a factor of 1. */
export const multiplied = (array: TargetArray, times: number): TargetArray => {
  if (times === 1) return array
  const { dtype, id } = array
  if (!isWeightDType(dtype)) throw new RangeError(`${id}: no arithmetic with ${dtype}`)
  return adjusted(array, {
    bytes: (bytes) => {
      const values = widened({ bytes, dtype })
      for (let i = 0; i < values.length; i++) values[i]! *= times
      bytes.set(narrowed(values, dtype))
    }
  })
}
