/** Hold the elements of two sides against each other, block by block, and measure how far apart they are. */
import { Effect, Stream } from "effect"
import { type ArrayChunk, type EngineLimits, stream, type TargetArray } from "../engine/index.ts"
import { bytesOf, type DType } from "../tensor/DType.ts"
import { f32BitsOfF16, f32OfBits } from "../tensor/kernels/float.ts"
import type { SideData } from "./sides.ts"

/** A tensor of both sides; the left one is cast to the right one's dtype where they differ. */
export interface Pair {
  readonly name: string
  readonly dtype: DType
}

/** How far two tensors of the same shape are apart. */
export interface Distance {
  readonly elements: number
  /** Elements whose bits differ. */
  readonly differing: number
  /** Of floating types: the largest |a − b|, ‖a − b‖₂ and that relative to ‖a‖₂. NaN where a value is none. */
  readonly maxAbsDiff?: number
  readonly norm?: number
  readonly relative?: number
}

type Value = (bytes: DataView, at: number) => number

const VALUES: Partial<Record<DType, Value>> = {
  BF16: (v, at) => f32OfBits(v.getUint16(at, true) << 16),
  F16: (v, at) => f32OfBits(f32BitsOfF16(v.getUint16(at, true))),
  F32: (v, at) => v.getFloat32(at, true),
  F64: (v, at) => v.getFloat64(at, true)
}

interface DifferenceSum {
  elements: number
  differing: number
  max: number
  squares: number
  reference: number
}

/** Compared this many bytes at a time before elements are looked at. */
const STRETCH = 1 << 16

const addBlock = (sum: DifferenceSum, dtype: DType, a: Uint8Array, b: Uint8Array, norms: boolean): void => {
  const width = bytesOf(dtype)
  sum.elements += a.byteLength / width
  const value = VALUES[dtype]
  const [x, y] = [Buffer.from(a.buffer, a.byteOffset, a.byteLength), Buffer.from(b.buffer, b.byteOffset, b.byteLength)]
  const [p, q] = [new DataView(a.buffer, a.byteOffset, a.byteLength), new DataView(b.buffer, b.byteOffset, b.byteLength)]
  for (let at = 0; at < x.length; at += STRETCH) {
    const end = Math.min(x.length, at + STRETCH)
    const equal = x.compare(y, at, end, at, end) === 0
    if (equal && !norms) continue
    for (let i = at; i < end; i += width) {
      const own = norms && value ? value(p, i) : 0
      if (norms) sum.reference += own * own
      if (equal || x.compare(y, i, i + width, i, i + width) === 0) continue
      sum.differing++
      if (!norms || !value) continue
      const d = own - value(q, i)
      if (!(Math.abs(d) <= sum.max)) sum.max = Math.abs(d)
      sum.squares += d * d
    }
  }
}

const distanceOf = (sum: DifferenceSum, dtype: DType, norms: boolean): Distance => ({
  elements: sum.elements,
  differing: sum.differing,
  ...(norms && sum.differing > 0 && VALUES[dtype]
    ? { maxAbsDiff: sum.max, norm: Math.sqrt(sum.squares), relative: sum.reference === 0 ? Infinity : Math.sqrt(sum.squares / sum.reference) }
    : {})
})

export interface CompareOptions extends EngineLimits {
  /** Measure distances, not only count differing elements. */
  readonly norms: boolean
  readonly progress?: (bytes: number) => void
}

/** The distances of pairs, by name. Both sides are assembled in the same blocks. */
export const compareData = Effect.fnUntraced(function*(pairs: ReadonlyArray<Pair>, left: SideData, right: SideData, options: CompareOptions) {
  const { maxMemory, norms, progress, ...rest } = options
  const engine = { ...rest, ...(maxMemory === undefined ? {} : { maxMemory: maxMemory / 2 }) }
  const arrays = function*(side: SideData): Generator<TargetArray> {
    for (const { dtype, name } of pairs) yield { ...side.array(name), dtype }
  }
  const distances = new Map<string, Distance>()
  let sum: DifferenceSum | undefined
  const add = (a: ArrayChunk, b: ArrayChunk): void => {
    const { dtype, id } = a.array
    if (id !== b.array.id || a.offset !== b.offset || a.bytes.byteLength !== b.bytes.byteLength) {
      throw new RangeError(`the blocks of ${id} and ${b.array.id} are cut differently`)
    }
    sum ??= { elements: 0, differing: 0, max: 0, squares: 0, reference: 0 }
    addBlock(sum, dtype, a.bytes, b.bytes, norms)
    progress?.(a.bytes.byteLength)
    if (!a.last) return
    distances.set(id, distanceOf(sum, dtype, norms))
    sum = undefined
  }
  yield* Stream.zipWith(stream(arrays(left), engine), stream(arrays(right), engine), (a, b) => [a, b] as const).pipe(
    Stream.runForEach(([a, b]) => Effect.sync(() => add(a, b)))
  )
  return distances as ReadonlyMap<string, Distance>
})
