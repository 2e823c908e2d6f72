/** The elements of a space's tensors as arrays for the engine, whatever the files are. */
import { Effect } from "effect"
import { join } from "node:path"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import type { Storage } from "../checkpoint/StorageSums.ts"
import { checksumsIn } from "../publish/integrity/Checksums.ts"
import type { SourceArray, TargetArray } from "../engine/Target.ts"
import { reading } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { storedArray } from "../quantized/LogicalTensors.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { identity, volume } from "../tensor/Copy.ts"
import { bitsOf } from "../tensor/DType.ts"
import type { Space, SpaceTensor } from "./Space.ts"

export interface SpaceData {
  /** A whole tensor. */
  readonly whole: (tensor: SpaceTensor) => TargetArray
  /** The same elements in the boxes in which they are stored, each in C order; `id` is the tensor's name. */
  readonly pieces: (tensor: SpaceTensor) => ReadonlyArray<TargetArray>
  /** What the tensors are stored in, with the CRC-32 that was stored with it, where one was. */
  readonly storages: ReadonlyArray<Storage>
}

/** Elements of less than a byte have no address; nothing here looks into them. */
export const isAddressable = ({ dtype }: SpaceTensor): boolean => bitsOf(dtype) % 8 === 0

const megatronData = Effect.fnUntraced(function*(space: Space, tensors: ReadonlyArray<SpaceTensor>) {
  const disk = yield* Disk
  const chunks = new ChunkSelection(space.directory)
  for (const tensor of tensors) chunks.add(tensor.name, tensor)
  const stored = yield* reading(() => readChunks(disk, chunks))
  const whole = (tensor: SpaceTensor): TargetArray => ({ id: tensor.name, dtype: tensor.dtype, shape: tensor.shape, copies: () => stored.whole(tensor, tensor.name) })
  const pieces = (tensor: SpaceTensor) =>
    tensor.chunks.filter(({ sizes }) => volume(sizes) > 0).map((chunk): TargetArray => {
      const { sizes } = chunk
      const copies = () => stored.box(chunk, sizes.map(() => 0), sizes, sizes.map((_, axis) => axis), tensor.name)
      return { id: tensor.name, dtype: tensor.dtype, shape: sizes, copies }
    })
  return { whole, pieces, storages: [...stored.storages()] } satisfies SpaceData
})

/** Spaces whose tensors are one range each. */
const singleData = (arrayOf: (tensor: SpaceTensor) => SourceArray, space: Space, storages: ReadonlyArray<Storage>): SpaceData => {
  const whole = (tensor: SpaceTensor): TargetArray => {
    const { dtype, name, shape } = tensor
    const strides = space.places?.get(name)?.strides
    const copies = () => {
      const copy = identity(arrayOf(tensor), name, shape)
      return volume(shape) === 0 ? [] : strides ? [{ ...copy, source: { ...copy.source, strides } }] : [copy]
    }
    return { id: name, dtype, shape, copies }
  }
  return { whole, pieces: (tensor) => (volume(tensor.shape) === 0 ? [] : [whole(tensor)]), storages }
}

/** Of `tensors` in archives; several may be views of one storage. */
const placedStorages = (space: Space, tensors: ReadonlyArray<SpaceTensor>): ReadonlyArray<Storage> => {
  const storages = new Map<string, Storage>()
  for (const { chunks, name } of tensors) {
    const place = space.places?.get(name)
    if (!place) continue
    const path = join(space.directory, chunks[0]!.file)
    storages.set(`${path}:${place.storage.start}`, { path, key: name, ...place.storage })
  }
  return [...storages.values()]
}

/** Of `tensors` in safetensors files, which have checksums only if this program wrote them beside. */
const checksummedStorages = async (disk: DiskCalls, hf: HfTensors, tensors: ReadonlyArray<SpaceTensor>): Promise<ReadonlyArray<Storage>> => {
  const checksums = await checksumsIn(disk, hf.directory)
  const wanted = new Set(tensors.map((t) => t.name))
  const sizes = new Map(checksums?.files.map(({ name, size }) => [name, size]))
  // Of a file that was replaced since, the checksums say nothing.
  const paths = new Map(hf.shards.filter(({ file, size }) => sizes.get(file) === size).map(({ file, path }) => [file, path]))
  return (checksums?.tensors ?? []).flatMap(({ begin, crc32, end, file, name }) => {
    const path = paths.get(file)
    return path !== undefined && wanted.has(name) ? [{ path, key: name, start: begin, end, crc32: Number.parseInt(crc32, 16) }] : []
  })
}

const placedArray = (space: Space) => ({ chunks, dtype, name, shape }: SpaceTensor): SourceArray => {
  const { elements, offset, strides } = space.places!.get(name)!
  return { path: join(space.directory, chunks[0]!.file), offset, dtype, shape: strides ? [elements] : shape }
}

/** Make the elements of `tensors` readable. For a Megatron checkpoint this reads the header of each of their chunks. */
export const openData = Effect.fnUntraced(function*(space: Space, tensors: ReadonlyArray<SpaceTensor>) {
  if (space.kind === "megatron") return yield* megatronData(space, tensors)
  const { hf } = space
  if (!hf) return singleData(placedArray(space), space, placedStorages(space, tensors))
  const disk = yield* Disk
  return singleData(({ name }) => storedArray(hf, name), space, yield* reading(() => checksummedStorages(disk, hf, tensors)))
})

/** Pieces in the order in which they lie on disk. */
export const inDiskOrder = (tensors: ReadonlyArray<SpaceTensor>): ReadonlyArray<SpaceTensor> =>
  [...tensors].sort((a, b) => {
    const [x, y] = [a.chunks[0], b.chunks[0]]
    if (!x || !y) return 0
    return x.file === y.file ? x.offset - y.offset : x.file < y.file ? -1 : 1
  })

export const elementsOf = (tensor: SpaceTensor): number => volume(tensor.shape)

