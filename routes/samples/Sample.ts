/** A model that `sample` can write. */
export type SampleSize = "tiny" | "small" | "1GB" | "10GB"

export interface Sample {
  readonly config: Readonly<Record<string, unknown>>
  /** Tensors that the published checkpoints keep in fp32; the others are bf16. */
  readonly fp32: RegExp
  /** Weights that they store as FP8 (E4M3) with an fp32 scale per 128 × 128 block. */
  readonly fp8?: RegExp
  /** Bytes of tensors per shard. */
  readonly shardBytes: number
}

/** Files enough that several processes have one each to write in an export. */
const SHARDS: Readonly<Record<SampleSize, number>> = { tiny: 500_000, small: 50_000_000, "1GB": 600_000_000, "10GB": 600_000_000 }

/** One sample per size, from the config at that size. */
export const bySize = (
  config: (size: SampleSize) => Sample["config"],
  tensors: Pick<Sample, "fp32" | "fp8"> = { fp32: /(?!)/ }
): Readonly<Record<SampleSize, Sample>> => {
  const of = (size: SampleSize): Sample => ({ config: config(size), ...tensors, shardBytes: SHARDS[size] })
  return { tiny: of("tiny"), small: of("small"), "1GB": of("1GB"), "10GB": of("10GB") }
}
