/** Weights to F32 and back: exact one way, to nearest and ties to even the other. */
import { bytesOf } from "../tensor/DType.ts"
import { castKernel } from "../tensor/kernels/cast.ts"
import { type Memory, memoryWith } from "../tensor/kernels/Memory.ts"
import type { WeightDType, Weights } from "./Arithmetic.ts"

/** Elements converted at a time: both forms stay in a core's caches. */
export const CHUNK = 1 << 14

/** Room for a chunk twice as F32 and once more, so that conversions need not wait for one another. */
let scratch: Memory | undefined
const scratchMemory = (): Memory => scratch ??= memoryWith(2 * 4 * CHUNK)

/** Convert `count` elements between two addresses of a memory. */
export const convertIn = (memory: Memory, from: WeightDType, to: WeightDType, source: number, out: number, count: number): void => {
  if (from === to) memory.u8.copyWithin(out, source, source + count * bytesOf(from))
  else castKernel(from, to)!.apply(memory, { source, out, count, operands: [], run: 1, temporary: 0 })
}

/** Chunk by chunk through the scratch memory, where bytes of any alignment become elements. */
const converted = (bytes: Uint8Array, from: WeightDType, to: WeightDType): Uint8Array<ArrayBuffer> => {
  const [width, outWidth] = [bytesOf(from), bytesOf(to)]
  const count = bytes.byteLength / width
  const result = new Uint8Array(count * outWidth)
  if (from === to) {
    result.set(bytes)
    return result
  }
  const memory = scratchMemory()
  const out = 4 * CHUNK
  for (let done = 0; done < count; done += CHUNK) {
    const part = Math.min(CHUNK, count - done)
    memory.u8.set(bytes.subarray(done * width, (done + part) * width), 0)
    convertIn(memory, from, to, 0, out, part)
    result.set(memory.u8.subarray(out, out + part * outWidth), done * outWidth)
  }
  return result
}

/** The numbers of weights. */
export const widened = ({ bytes, dtype }: Pick<Weights, "bytes" | "dtype">): Float32Array<ArrayBuffer> =>
  new Float32Array(converted(bytes, dtype, "F32").buffer)

/** Numbers as bytes of a dtype. */
export const narrowed = (numbers: Float32Array, dtype: WeightDType): Uint8Array<ArrayBuffer> =>
  converted(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength), "F32", dtype)
