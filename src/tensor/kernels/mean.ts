/** Weighted means of tensors, see `Mean` in `../Transform.ts`. */
import type { DType } from "../DType.ts"
import type { Mean } from "../Transform.ts"
import { SCALARS } from "./add.ts"
import type { Kernel } from "./Kernel.ts"

/** `inputs`: dtypes of the source and the operands; undefined where one of them, or the target, is no floating dtype. */
export const meanKernel = ({ weights }: Mean, inputs: ReadonlyArray<DType>, target: DType): Kernel | undefined => {
  const loads = inputs.map((dtype) => SCALARS[dtype]?.load)
  const out = SCALARS[target]
  if (!out || loads.some((load) => load === undefined) || weights.length !== inputs.length) return undefined
  const factors = weights.map(Math.fround)
  return {
    temporary: 0,
    elementwise: true,
    apply: (m, call) => {
      const addresses = [call.source, ...call.operands]
      for (let i = 0; i < call.count; i++) {
        let sum = 0
        for (let k = 0; k < factors.length; k++) {
          const product = Math.fround(factors[k]! * loads[k]!(m, addresses[k]!, i))
          sum = k === 0 ? product : Math.fround(sum + product)
        }
        out.store(m, call.out, i, sum)
      }
      return 0
    }
  }
}
