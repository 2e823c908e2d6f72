/** The elements of tensors of any space as arrays for the engine. */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import { join } from "node:path"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readChunks, type StoredArrays } from "../checkpoint/StoredArrays.ts"
import type { Storage } from "../checkpoint/StorageSums.ts"
import { checksumsIn } from "../publish/integrity/Checksums.ts"
import type { TargetArray } from "../engine/index.ts"
import { reading } from "../io/attempt.ts"
import type { Store } from "../store/Store.ts"
import { type Box, stridesOf, volume } from "../tensor/Copy.ts"
import { bitsOf } from "../tensor/DType.ts"
import { chunksOf, copiesFrom, type FilePlace, isIn, type ItemsPlace, type SpaceTensor, wholeTensor } from "./TensorSpace.ts"

export interface OpenTensors {
  /** A whole tensor. */
  readonly whole: (tensor: SpaceTensor) => TargetArray
  /** A box of a tensor. */
  readonly box: (tensor: SpaceTensor, box: Box) => TargetArray
  /** The same elements in the boxes in which they are stored, each in C order; `id` is the tensor's name. */
  readonly pieces: (tensor: SpaceTensor) => ReadonlyArray<TargetArray>
  /** What the tensors are stored in, with the CRC-32 that was stored with it, where one was. */
  readonly storages: ReadonlyArray<Storage>
}

/** Elements of less than a byte have no address; nothing here looks into them. */
export const isAddressable = ({ dtype }: SpaceTensor): boolean => bitsOf(dtype) % 8 === 0

/** The items of `tensors`, by the folder that they are in. */
const readItems = async (store: Store, tensors: ReadonlyArray<SpaceTensor<ItemsPlace>>): Promise<ReadonlyMap<string, StoredArrays>> => {
  const arrays = new Map<string, StoredArrays>()
  for (const [directory, own] of Map.groupBy(tensors, (t) => t.place.directory)) {
    const chunks = new ChunkSelection(directory)
    for (const tensor of own) chunks.add(tensor.name, tensor.place.stored)
    arrays.set(directory, await readChunks(store, chunks))
  }
  return arrays
}

/** Storages of archives; several tensors may be views of one. */
const viewedStorages = (tensors: ReadonlyArray<SpaceTensor>): ReadonlyArray<Storage> => {
  const storages = new Map<string, Storage>()
  for (const { name, place: { directory, file, storage } } of tensors.filter(isIn("view"))) {
    const path = join(directory, file)
    storages.set(`${path}:${storage.start}`, { path, key: name, ...storage })
  }
  return [...storages.values()]
}

/** Of `tensors` in safetensors files, which have checksums only if this program wrote them beside. */
const checksummedStorages = async (store: Store, tensors: ReadonlyArray<SpaceTensor>): Promise<ReadonlyArray<Storage>> => {
  const storages: Array<Storage> = []
  for (const [directory, own] of Map.groupBy(tensors.filter(isIn("range")), (t) => t.place.directory)) {
    const checksums = await checksumsIn(store, directory)
    const known = new Map(checksums?.files.map(({ name, size }) => [name, size]))
    const wanted = new Set(own.map((t) => t.name))
    // Of a file that was replaced since, the checksums say nothing.
    const same = new Set<string>()
    for (const file of new Set(own.map((t) => t.place.file))) {
      if (known.has(file) && (await store.stat(join(directory, file))).size === known.get(file)) same.add(file)
    }
    for (const { begin, crc32, end, file, name } of checksums?.tensors ?? []) {
      if (same.has(file) && wanted.has(name)) storages.push({ path: join(directory, file), key: name, start: begin, end, crc32: Number.parseInt(crc32, 16) })
    }
  }
  return storages
}

/** Make the elements of `tensors` readable. For those in items this reads the header of each of their chunks. */
export const openTensors = Effect.fnUntraced(function*(tensors: ReadonlyArray<SpaceTensor>) {
  const store = yield* storeInUse
  const items = yield* reading(() => readItems(store, tensors.filter(isIn("items"))))
  const whole = (tensor: SpaceTensor): TargetArray => {
    const { dtype, name, shape } = tensor
    const copies = () => (isIn("items")(tensor) ? items.get(tensor.place.directory)!.whole(tensor.place.stored, name) : wholeTensor(tensor as SpaceTensor<FilePlace>))
    return { id: name, dtype, shape, copies }
  }
  const box = (tensor: SpaceTensor, own: Box): TargetArray => {
    const { dtype, name, shape } = tensor
    const { offsets, sizes } = own
    const strides = stridesOf(shape)
    const copies = () => isIn("items")(tensor)
      ? items.get(tensor.place.directory)!.within(tensor.place.stored, own, name)
      : copiesFrom(tensor as SpaceTensor<FilePlace>, { shape: sizes, source: { tensor: name, offset: offsets.reduce((sum, o, k) => sum + o * strides[k]!, 0), strides }, target: { tensor: name, offset: 0, strides: stridesOf(sizes) } })
    return { id: name, dtype, shape: sizes, copies }
  }
  const pieces = (tensor: SpaceTensor): ReadonlyArray<TargetArray> => {
    if (!isIn("items")(tensor)) return volume(tensor.shape) === 0 ? [] : [whole(tensor)]
    const { dtype, name, place: { directory, stored: { chunks } } } = tensor
    return chunks.filter(({ sizes }) => volume(sizes) > 0).map((chunk): TargetArray => {
      const { sizes } = chunk
      return { id: name, dtype, shape: sizes, copies: () => items.get(directory)!.box(chunk, sizes.map(() => 0), sizes, sizes.map((_, axis) => axis), name) }
    })
  }
  const summed = yield* reading(() => checksummedStorages(store, tensors))
  const storages = [...[...items.values()].flatMap((arrays) => [...arrays.storages()]), ...viewedStorages(tensors), ...summed]
  return { whole, box, pieces, storages } satisfies OpenTensors
})

/** Tensors in the order in which they lie on disk. */
export const inDiskOrder = (tensors: ReadonlyArray<SpaceTensor>): ReadonlyArray<SpaceTensor> =>
  tensors.map((tensor) => ({ tensor, first: chunksOf(tensor)[0] }))
    .sort(({ first: x }, { first: y }) => !x || !y ? 0 : x.file === y.file ? x.offset - y.offset : x.file < y.file ? -1 : 1)
    .map(({ tensor }) => tensor)
