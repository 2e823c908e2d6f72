/**
 * Writes the Hugging Face directory that a case describes: weight shards, their index, the config files and a tokenizer,
 * as transformers 5 lays them out. Memory does not grow with the tensors.
 */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { join } from "node:path"
import { lift } from "../io/attempt.ts"
import { Disk, openScoped, writeFully } from "../io/Disk.ts"
import { encodeHeader } from "../safetensors/encodeHeader.ts"
import { encodeIndex } from "../safetensors/ShardIndex.ts"
import { tensorBytes } from "../safetensors/Tensor.ts"
import { bytesOf } from "../tensor/DType.ts"
import type { ConformanceCase, SourceTensor } from "./Case.ts"
import { textFiles } from "./HfTextFiles.ts"
import { fillWeights } from "./WeightGenerator.ts"

/** What of a case its source checkpoint depends on; anything of this form can be written. */
export interface GeneratedModel {
  readonly weights: ConformanceCase["weights"]
  readonly hf: Pick<ConformanceCase["hf"], "config" | "configText" | "tensors">
}

const BLOCK = 16 << 20

/** The tensor's bytes in order, in views of `buffer`: each is overwritten by the next. */
function* blocksOf({ weights }: GeneratedModel, tensor: SourceTensor, buffer: Uint8Array): Generator<Uint8Array> {
  const width = bytesOf(tensor.dtype)
  const total = tensorBytes(tensor)
  for (let position = 0; position < total; position += buffer.byteLength) {
    const block = buffer.subarray(0, Math.min(buffer.byteLength, total - position))
    fillWeights(block, tensor.name, tensor.dtype, position / width, weights)
    yield block
  }
}

const blockBuffer = (tensors: ReadonlyArray<SourceTensor>): Uint8Array =>
  new Uint8Array(Math.min(BLOCK, tensors.reduce((most, tensor) => Math.max(most, tensorBytes(tensor)), 0)))

const bytesOfAll = (tensors: ReadonlyArray<SourceTensor>): number =>
  tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0)

/** What `hf.totalBytes` and `hf.sha256OfAllTensorBytesInOrder` of a case must equal. */
export const digestOfWeights = (source: GeneratedModel): { readonly totalBytes: number; readonly sha256: string } => {
  const { tensors } = source.hf
  const buffer = blockBuffer(tensors)
  const hash = createHash("sha256")
  for (const tensor of tensors) { for (const block of blocksOf(source, tensor, buffer)) hash.update(block) }
  return { totalBytes: bytesOfAll(tensors), sha256: hash.digest("hex") }
}

/** transformers refuses to load a shard that does not say so. */
const METADATA = new Map([["format", "pt"]])

const writeShard = Effect.fnUntraced(function*(
  source: GeneratedModel,
  path: string,
  tensors: ReadonlyArray<SourceTensor>,
  progress: (bytes: number) => void
) {
  const file = yield* openScoped(yield* Disk, path, "create")
  const header = encodeHeader(tensors, METADATA)
  yield* lift(() => writeFully(file, header.headerBytes, 0))
  const buffer = blockBuffer(tensors)
  let position = header.dataStart
  for (const tensor of tensors) {
    for (const block of blocksOf(source, tensor, buffer)) {
      yield* lift(() => writeFully(file, block, position))
      position += block.byteLength
      progress(block.byteLength)
    }
  }
}, Effect.scoped)

const writeSmall = Effect.fnUntraced(function*(path: string, bytes: Uint8Array) {
  const file = yield* openScoped(yield* Disk, path, "create")
  yield* lift(() => writeFully(file, bytes, 0))
}, Effect.scoped)

/**
 * Writes the checkpoint to `directory`, which must not exist yet. Not fsynced: it can be made again.
 *
 * **Details**: shards hold their tensors in list order; a single shard gets no index. A model with a vision part gets a
 * plausible `preprocessor_config.json`.
 */
export const writeHfCheckpoint = Effect.fn("writeHfCheckpoint")(function*(source: GeneratedModel, directory: string) {
  const disk = yield* Disk
  yield* lift(() => disk.makeDirectory(directory))
  yield* writeHfCheckpointInto(source, directory)
})

/** {@link writeHfCheckpoint} into a directory that exists. `progress` is told the bytes of each tensor once it is written. */
export const writeHfCheckpointInto = Effect.fn("writeHfCheckpointInto")(function*(
  source: GeneratedModel,
  directory: string,
  progress: (bytes: number) => void = () => {}
) {
  const { tensors } = source.hf
  const shards = Map.groupBy(tensors, ({ file }) => file)
  for (const [file, held] of shards) yield* writeShard(source, join(directory, file), held, progress)
  if (shards.size > 1) {
    const weightMap = new Map(tensors.map(({ file, name }) => [name, file]))
    const index = encodeIndex({ metadata: new Map([["total_size", bytesOfAll(tensors)]]), weightMap })
    yield* writeSmall(join(directory, "model.safetensors.index.json"), index)
  }
  for (const [name, text] of textFiles(source.hf)) yield* writeSmall(join(directory, name), Buffer.from(text))
})
