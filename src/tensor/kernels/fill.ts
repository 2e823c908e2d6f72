/** `y = value`, rounded to the dtype of y. */
import type { DType } from "../DType.ts"
import { SCALARS } from "./add.ts"
import type { Kernel } from "./Kernel.ts"

/** Undefined where `to` is no floating dtype. Nothing is lost: the source is not what is stored. */
export const fillKernel = (value: number, to: DType): Kernel | undefined => {
  const store = SCALARS[to]?.store
  return store && {
    temporary: 0,
    elementwise: true,
    apply: (m, { count, out }) => {
      for (let i = 0; i < count; i++) store(m, out, i, value)
      return 0
    }
  }
}
