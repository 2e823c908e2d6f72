/** Undo a lossy step exactly where a candidate for the original is at hand; see `Restore` in `../Transform.ts`. */
import { bytesOf, type DType } from "../DType.ts"
import type { Add, Restore } from "../Transform.ts"
import { addKernel } from "./add.ts"
import { castKernel } from "./cast.ts"
import type { Kernel } from "./Kernel.ts"
import type { Memory } from "./Memory.ts"

/** Elements that are compared at once: nearly always all of them are equal. */
const STRETCH = 4096

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
      const { operands: [original], out, source: stored } = call
      const again = call.temporary
      const most = Math.min(STRETCH, call.count)
      const accepted = again + roundUp(most * storedWidth)
      const temporary = accepted + roundUp(most * width)
      let missed = 0
      for (let from = 0; from < call.count; from += STRETCH) {
        const count = Math.min(STRETCH, call.count - from)
        const part = { ...call, count, temporary }
        const candidates = original! + from * bytesOf(candidate)
        const values = stored + from * storedWidth
        const target = out + from * width
        forward.apply(m, { ...part, source: candidates, out: again })
        if (isEqual(m, values, again, count * storedWidth)) {
          accept.apply(m, { ...part, source: candidates, out: target })
          continue
        }
        accept.apply(m, { ...part, source: candidates, out: accepted })
        backward.apply(m, { ...part, source: values, out: target })
        for (let i = 0; i < count; i++) {
          if (sameElement(m, storedWidth, values, again, i)) copyElement(m, width, accepted, target, i)
          else missed++
        }
      }
      return missed
    }
  }
}

const isEqual = ({ u8 }: Memory, a: number, b: number, length: number): boolean =>
  Buffer.compare(u8.subarray(a, a + length), u8.subarray(b, b + length)) === 0

/** Elements of 2, 4 or 8 bytes: there are no other floating dtypes here. */
const sameElement = ({ u16, u32 }: Memory, width: number, a: number, b: number, i: number): boolean => {
  if (width === 2) return u16[(a >>> 1) + i] === u16[(b >>> 1) + i]
  if (width === 4) return u32[(a >>> 2) + i] === u32[(b >>> 2) + i]
  return u32[(a >>> 2) + 2 * i] === u32[(b >>> 2) + 2 * i] && u32[(a >>> 2) + 2 * i + 1] === u32[(b >>> 2) + 2 * i + 1]
}

const copyElement = ({ u16, u32 }: Memory, width: number, from: number, to: number, i: number): void => {
  if (width === 2) u16[(to >>> 1) + i] = u16[(from >>> 1) + i]!
  else if (width === 4) u32[(to >>> 2) + i] = u32[(from >>> 2) + i]!
  else {
    u32[(to >>> 2) + 2 * i] = u32[(from >>> 2) + 2 * i]!
    u32[(to >>> 2) + 2 * i + 1] = u32[(from >>> 2) + 2 * i + 1]!
  }
}
