/** How tensors of a stream are packed into buckets: where one ends follows from sizes alone. Pure. */
import { quote, UsageError } from "../errors.ts"
import type { DType } from "../tensor/DType.ts"

/**
 * `packed`: a bucket ends with the tensor by which it becomes larger than its size (what packed receivers of vLLM predict). `fitting`: it
 * ends before such a tensor, and with the dtype; a larger tensor is a bucket of its own (mbridge). `bounded`: it ends before such a
 * tensor, and a larger one is refused (buffers that are shared between processes).
 */
export const packings = ["packed", "fitting", "bounded"] as const
/** By which rule a bucket ends: one of {@link packings}. */
export type Packing = (typeof packings)[number]

interface Sized {
  readonly name: string
  readonly dtype: DType
  readonly bytes: number
}

/**
 * Runs of neighbours, a bucket each; none is empty.
 *
 * @throws UsageError for a size that is none; for a tensor that no `bounded` bucket has room for
 */
export const packed = <T extends Sized>(tensors: ReadonlyArray<T>, bucketBytes: number, packing: Packing): ReadonlyArray<ReadonlyArray<T>> => {
  if (!Number.isSafeInteger(bucketBytes) || bucketBytes < 1) throw new UsageError({ problem: `${bucketBytes} is no size of a bucket: a number of bytes from 1 on` })
  const buckets: Array<ReadonlyArray<T>> = []
  let open: Array<T> = []
  let filled = 0
  const close = (): void => {
    if (open.length > 0) buckets.push(open)
    open = []
    filled = 0
  }
  for (const tensor of tensors) {
    if (packing === "bounded" && tensor.bytes > bucketBytes) {
      throw new UsageError({ problem: `${quote(tensor.name)} has ${tensor.bytes} bytes, a bucket ${bucketBytes}`, hint: "Ask for larger buckets, or for another packing." })
    }
    if (packing !== "packed" && (filled + tensor.bytes > bucketBytes || (packing === "fitting" && open[0] !== undefined && open[0].dtype !== tensor.dtype))) close()
    open.push(tensor)
    filled += tensor.bytes
    if (packing === "packed" ? filled > bucketBytes : packing === "fitting" && filled >= bucketBytes) close()
  }
  close()
  return buckets
}
