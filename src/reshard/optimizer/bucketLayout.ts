/** Parameters fitted into the buckets of a buffer, which shows where each begins (training-checkpoints.md 2.3, rules 2 to 5). Pure. */
import type { Bucket } from "./bucketKeys.ts"
import type { LocalParameter } from "./localParameters.ts"

/** Starts are aligned to this many elements. */
const ALIGNMENT = 64

export interface PlacedParameter {
  readonly parameter: LocalParameter
  readonly bucket: Bucket
  /** Of its first element, in the bucket. */
  readonly start: number
}

/** Every position at which a chunk of the bucket begins or ends. */
const bordersOf = ({ states }: Bucket): ReadonlySet<number> => {
  const { place } = states.values().next().value!
  return new Set(place.stored.chunks.flatMap(({ offsets, sizes }) => [offsets[0]!, offsets[0]! + sizes[0]!]))
}

/**
 * In the reverse of their registration, each at the next aligned place; a bucket ends with the parameter that fills it. Undefined: these
 * parameters, in this order, are not what the buckets hold.
 */
export const fitted = (registered: ReadonlyArray<LocalParameter>, buckets: ReadonlyArray<Bucket>): ReadonlyArray<PlacedParameter> | undefined => {
  const out: Array<PlacedParameter> = []
  let at = 0
  let cursor = 0
  let borders = buckets[0] && bordersOf(buckets[0])
  for (const parameter of registered.toReversed()) {
    if (cursor === buckets[at]?.length) {
      at++
      cursor = 0
      borders = buckets[at] && bordersOf(buckets[at]!)
    }
    const bucket = buckets[at]
    const start = Math.ceil(cursor / ALIGNMENT) * ALIGNMENT
    const end = start + parameter.numel
    if (!bucket || end > bucket.length || !borders!.has(start) || !borders!.has(end)) return undefined
    out.push({ parameter, bucket, start })
    cursor = end
  }
  return at === buckets.length - 1 && cursor === buckets[at]!.length ? out : undefined
}
