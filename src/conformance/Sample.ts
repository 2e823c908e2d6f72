/**
 * Writes a deterministic Hugging Face checkpoint of a described model: its tensors follow from the family's mapping rows, its
 * values from the conformance cases' weight generator.
 */
import { Effect } from "effect"
import { bind } from "../bridge/Conversion.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { whyNotReplaceable } from "../convert/replaceable.ts"
import { noHeaders } from "../space/HfSource.ts"
import { commit } from "../publish/commit.ts"
import { DiskPublication } from "../publish/DiskPublication.ts"
import { publish } from "../publish/publish.ts"
import { quote, UsageError } from "../errors.ts"
import { byCodePoint } from "../document/byCodePoint.ts"
import { standardModules } from "../mimo/routes.ts"
import { type Shape, volume } from "../tensor/Copy.ts"
import { bytesOf, type DType } from "../tensor/DType.ts"
import { attempt } from "../io/attempt.ts"
import { writeHfCheckpointInto } from "./HfCheckpoint.ts"
import type { SourceTensor } from "./Case.ts"

export interface SampleSource {
  readonly config: Readonly<Record<string, unknown>>
  /** Tensors in fp32; the others are bf16. */
  readonly fp32: RegExp
  /** Matrices in FP8 (E4M3) with fp32 scales per 128 × 128 block, in a tensor of their own. */
  readonly fp8?: RegExp
  readonly shardBytes: number
}

const BLOCK = 128

interface StoredTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
}

/** The tensors of a sample, in file order (by name), with their shards. */
export const sampleTensors = (families: FamilyRegistry, { config, fp32, fp8, shardBytes }: SampleSource): ReadonlyArray<SourceTensor> => {
  const family = families.find(config)
  const { hf } = bind(standardModules(family.describe(family.schema.parse(config), noHeaders)))
  const stored = ({ name, shape }: { readonly name: string; readonly shape: Shape }): ReadonlyArray<StoredTensor> =>
    fp8?.test(name)
      ? [{ name, dtype: "F8_E4M3", shape }, { name: `${name}_scale_inv`, dtype: "F32", shape: shape.map((n) => Math.ceil(n / BLOCK)) }]
      : [{ name, dtype: fp32.test(name) ? "F32" : "BF16", shape }]
  let shard = 0
  let size = 0
  const placed = [...hf.values()].flatMap(stored).sort((a, b) => byCodePoint(a.name, b.name)).map(({ dtype, name, shape }) => {
    const bytes = volume(shape) * bytesOf(dtype)
    if (size > 0 && size + bytes > shardBytes) {
      shard++
      size = 0
    }
    size += bytes
    return { name, dtype, shape: [...shape], shard }
  })
  const file = (n: number) =>
    shard === 0 ? "model.safetensors" : `model-${String(n + 1).padStart(5, "0")}-of-${String(shard + 1).padStart(5, "0")}.safetensors`
  return placed.map(({ shard: n, ...tensor }) => ({ ...tensor, file: file(n) }))
}

/** A sample that was written: where, of which architecture, how many tensors and bytes. */
export interface SampleReport {
  readonly directory: string
  readonly architecture: string
  readonly tensors: number
  readonly bytes: number
}

/** Write a sample to `directory`, which must be free. */
export const writeSample = Effect.fnUntraced(function*(
  families: FamilyRegistry,
  source: SampleSource,
  directory: string,
  options: { readonly overwrite: boolean; readonly progress?: (bytes: number) => void; readonly onSize?: (bytes: number) => void }
) {
  const tensors = yield* attempt(() => sampleTensors(families, source))
  const bytes = tensors.reduce((sum, t) => sum + volume(t.shape) * bytesOf(t.dtype), 0)
  options.onSize?.(bytes)
  const text = JSON.stringify(source.config, undefined, 2)
  yield* publish(directory, { overwrite: options.overwrite, size: bytes, notReplaceable: (names) => whyNotReplaceable(names, undefined) }, (publication) =>
    !(publication instanceof DiskPublication) ? new UsageError({ problem: `a sample is written to a directory, not to ${quote(directory)}` }) : writeHfCheckpointInto(
      { weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config: { ...source.config }, configText: text, tensors: [...tensors] } },
      publication.staged.directory,
      options.progress
    ).pipe(
      Effect.andThen(attempt(() => publication.staged.recordAll())),
      Effect.andThen(commit(publication))
    ))
  return { directory, architecture: String((source.config["architectures"] as ReadonlyArray<string>)[0]), tensors: tensors.length, bytes } satisfies SampleReport
})
