/**
 * Weights that `torch.save` wrote: `pytorch_model.bin`, or several files and `pytorch_model.bin.index.json`. Their pickles are read as
 * data, never executed. Tensors may share storages and be views of any strides; nothing is loaded.
 */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { bytesOf } from "../tensor/DType.ts"
import type { Storage } from "../checkpoint/StorageSums.ts"
import { atPath } from "../document/decode.ts"
import { FormatError, InvalidFile, invalidFile, quote } from "../errors.ts"
import { openRegular, realPathInside } from "../safetensors/locate.ts"
import { checkIndex, parseIndex, shardsOf } from "../safetensors/ShardIndex.ts"
import { readSmall } from "../store/readSmall.ts"
import { storedState, type Store, type StoredFile } from "../store/Store.ts"
import { parseSaved, TENSORS_ONLY } from "../torch/parseSaved.ts"
import { pyRead, type PyRead, PyTensorView } from "../torch/PyValue.ts"
import { fromReader, type Ranged, rangesOf } from "../torch/Ranges.ts"
import type { SavedFile } from "../torch/SavedFile.ts"
import { isInOrder, type StoragePlace, type TensorView } from "../torch/TensorView.ts"
import type { StoredWeights, WeightFile } from "./StoredWeights.ts"
import { bytesOfTensor, type RangePlace, type SpaceTensor, type ViewPlace } from "./TensorSpace.ts"

const SINGLE = "pytorch_model.bin"
const INDEX = "pytorch_model.bin.index.json"
/** What LLaVA's own trainer writes of a projector alone. */
const PROJECTOR = "mm_projector.bin"
const LARGEST_INDEX = 100_000_000

/** What to open of a directory with these names; the index wins over a single file, as it does among safetensors files. */
export const pickledEntry = (names: ReadonlyArray<string>): string | undefined => [INDEX, SINGLE, PROJECTOR].find((name) => names.includes(name))

interface Opened {
  readonly file: WeightFile
  readonly tensors: ReadonlyArray<SpaceTensor<RangePlace | ViewPlace>>
  readonly storages: ReadonlyArray<Storage>
  readonly others: number
}

interface Placed {
  readonly name: string
  readonly view: TensorView
  readonly storage: StoragePlace
}

/** The state dict of a file: tensors by name. What else is in it (a version, an empty state) is counted. */
function* stateDict(saved: SavedFile): Ranged<{ readonly placed: ReadonlyArray<Placed>; readonly others: number }> {
  const value = saved.inPickle(() => pyRead(saved.value))
  if (!(value instanceof Map)) throw new FormatError("torch/state-dict", "the file holds no dict of tensors")
  const placed: Array<Placed> = []
  let others = 0
  for (const [name, item] of value as ReadonlyMap<PyRead, PyRead>) {
    if (item instanceof PyTensorView && typeof name === "string") placed.push({ name, view: item.view, storage: yield* saved.place(item.view) })
    else if (item instanceof Map && item.size > 0) throw new FormatError("torch/state-dict", `the entry ${quote(String(name))} is a dict of its own: this is a training state, not the weights of a model`, { field: String(name) })
    else others++
  }
  return { placed, others }
}

const tensorOf = (directory: string, file: string, { name, storage: { crc32, dataLength, dataOffset }, view }: Placed): SpaceTensor<RangePlace | ViewPlace> => {
  const { dtype, shape, storageOffset, strides } = view
  const bytes = bytesOfTensor(dtype, shape)
  const offset = dataOffset + storageOffset * bytesOf(dtype)
  const place: RangePlace | ViewPlace = isInOrder(view)
    ? { kind: "range", directory, file, offset, length: bytes }
    : {
      kind: "view",
      directory,
      file,
      offset,
      elements: dataLength / bytesOf(dtype) - storageOffset,
      strides,
      item: { offset: dataOffset, length: dataLength },
      storage: { start: dataOffset, end: dataOffset + dataLength, crc32 }
    }
  return { name, dtype, shape, bytes, role: "model", place }
}

/** Behind the length of a header its JSON begins. */
const HEADER_START = 9

const refuseSafetensors = async (file: StoredFile, path: string, size: number): Promise<void> => {
  if (size < HEADER_START) return
  const start = await rangesOf(file)(0, HEADER_START)
  if (start[HEADER_START - 1] !== 0x7b || Buffer.from(start.buffer, start.byteOffset).readBigUInt64LE(0) > BigInt(size)) return
  throw new InvalidFile({ path, code: "torch/safetensors", problem: "is a safetensors file by the name of a pickled one", hint: "Rename it to model.safetensors (its index, where there is one, must say so, too)." })
}

const openFile = async (store: Store, directory: string, name: string): Promise<Opened> => {
  const path = join(directory, name)
  const handle = await openRegular(store, await realPathInside(store, directory, name), path)
  try {
    const info = await handle.info()
    await refuseSafetensors(handle, path, info.size)
    const { others, placed } = await fromReader(info.size, rangesOf(handle), (function*() {
      return yield* stateDict(yield* parseSaved(info.size, TENSORS_ONLY))
    })())
    const tensors = placed.map((one) => tensorOf(directory, name, one))
    // Tensors at the same places are the same content of the file, as far as it can be told without its data.
    const table = createHash("sha256").update(JSON.stringify(placed.map(({ name: key, storage, view }) => [key, view, storage]))).digest()
    const storages = new Map(placed.map(({ name: key, storage: { crc32, dataLength, dataOffset } }) => [dataOffset, { path, key, start: dataOffset, end: dataOffset + dataLength, crc32 }]))
    return { file: { file: name, path, ...storedState(info), headerBytes: table }, tensors, storages: [...storages.values()], others }
  } catch (error) {
    throw error instanceof FormatError ? invalidFile(path, error) : error
  } finally {
    await handle.close()
  }
}

/** `entry`: what {@link pickledEntry} found. Errors: InvalidFile (`zip/…`, `pickle/…`, `torch/…`, `safetensors/index-…`), IoError. */
export const openPickledWeights = async (store: Store, directory: string, entry: string): Promise<StoredWeights> => {
  const indexPath = join(directory, INDEX)
  const indexBytes = entry === INDEX ? await readSmall(store, await realPathInside(store, directory, INDEX), indexPath, LARGEST_INDEX) : undefined
  const index = indexBytes && atPath(indexPath, () => parseIndex(indexBytes, ".bin"), indexBytes)
  const opened: Array<Opened> = []
  for (const name of index ? shardsOf(index) : [entry]) opened.push(await openFile(store, directory, name))
  const stale = index ? atPath(indexPath, () => checkIndex(index, opened.map(({ file: { file }, tensors }) => ({ file, tensors }))), indexBytes) : []
  const tensors = new Map<string, SpaceTensor<RangePlace | ViewPlace>>()
  for (const one of opened) for (const tensor of one.tensors) if ((index?.weightMap.get(tensor.name) ?? one.file.file) === one.file.file) tensors.set(tensor.name, tensor)
  const others = opened.reduce((sum, one) => sum + one.others, 0)
  return {
    directory,
    files: opened.map(({ file }) => file),
    tensors,
    tensorBytes: tensors.values().reduce((sum, { bytes }) => sum + bytes, 0),
    warnings: [
      `the weights are pickles of torch.save (${entry}), read as data; transformers' save_pretrained writes safetensors`,
      ...(stale.length > 0 ? [`${stale.length} tensors stand in other files, too, than the index says (${quote(stale[0]!.name)} …); the index counts`] : []),
      ...(others > 0 ? [`${others} entries that are no tensors are passed over`] : [])
    ],
    ...(index ? { indexFile: INDEX } : {}),
    storages: opened.flatMap((one) => one.storages)
  }
}
