/** Undo a lossy step exactly where a candidate for the original is at hand; see `Restore` in `../Transform.ts`. */
import { bytesOf, type DType } from "../DType.ts"
import type { Add, Restore } from "../Transform.ts"
import { addKernel } from "./add.ts"
import { castKernel } from "./cast.ts"
import type { Kernel } from "./Kernel.ts"

const roundUp = (n: number): number => Math.ceil(n / 8) * 8

/** Copies bits: the step between equal dtypes. */
const same = (dtype: DType): Kernel => ({
  temporary: 0,
  elementwise: true,
  apply: (m, { count, out, source }) => {
    m.u8.copyWithin(out, source, source + count * bytesOf(dtype))
    return 0
  }
})

const step = (add: Add | undefined, from: DType, to: DType): Kernel | undefined =>
  add ? addKernel(add.constant, from, to) : from === to ? same(from) : castKernel(from, to)

/**
 * `source` is the dtype of the stored value, `candidate` of the operand, `target` of what is written. Counts the elements
 * for which the candidate was not the original.
 */
export const restoreKernel = (
  transform: Restore,
  source: DType,
  target: DType,
  candidate: DType
): Kernel | undefined => {
  const forward = step(transform.forward, candidate, source)
  const backward = step(transform.backward, source, target)
  const accept = step(undefined, candidate, target)
  if (!forward || !backward || !accept) return undefined
  const storedWidth = bytesOf(source)
  const width = bytesOf(target)
  const inner = Math.max(forward.temporary, backward.temporary)
  return {
    temporary: storedWidth + width + inner,
    elementwise: true,
    apply: (m, call) => {
      const { count, operands: [original], out, source: stored } = call
      const again = call.temporary
      const accepted = again + roundUp(count * storedWidth)
      const temporary = accepted + roundUp(count * width)
      forward.apply(m, { ...call, source: original!, out: again, temporary })
      accept.apply(m, { ...call, source: original!, out: accepted, temporary })
      backward.apply(m, { ...call, temporary })
      const bytes = m.u8
      let missed = 0
      // Equal stretches are taken in one go: nearly always all of it.
      for (let i = 0; i < count;) {
        let end = i
        while (end < count && equal(bytes, stored + end * storedWidth, again + end * storedWidth, storedWidth)) end++
        bytes.copyWithin(out + i * width, accepted + i * width, accepted + end * width)
        if (end < count) missed++
        i = end + 1
      }
      return missed
    }
  }
}

const equal = (bytes: Uint8Array, a: number, b: number, width: number): boolean => {
  for (let k = 0; k < width; k++) if (bytes[a + k] !== bytes[b + k]) return false
  return true
}
