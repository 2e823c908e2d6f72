/**
 * A `.distcp` file by itself. It is a row of `torch.save` archives without an index; each archive's end says where it began,
 * so the row is walked from the end of the file. The items have no names: only `.metadata` beside the file knows them.
 */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import { basename, dirname, join } from "node:path"
import { METADATA } from "../checkpoint/names.ts"
import { atPath } from "../document/decode.ts"
import { FormatError, invalidFile } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import type { Store, StoredFile } from "../store/Store.ts"
import { readFully } from "../store/Store.ts"
import { readSmall } from "../store/readSmall.ts"
import { bytesOf } from "../tensor/DType.ts"
import { decodeMetadata, METADATA_LIMITS } from "../torch/DcpMetadata.ts"
import { inPickle } from "../torch/Archive.ts"
import { parseArchive } from "../torch/ObjectItem.ts"
import { pyRead } from "../torch/PyValue.ts"
import { fromReader, rangesOf } from "../torch/Ranges.ts"
import { fillsItsStorage } from "../torch/TensorItem.ts"
import { isTensor, placeStorage, tensorView } from "../torch/TensorView.ts"
import { describeValue } from "./describeValue.ts"
import type { UnroutedSpace } from "./OpenedSpace.ts"
import { bytesOfTensor, type SpaceTensor, type ViewPlace } from "./TensorSpace.ts"

const END_RECORD = 22
const ZIP64_END = 56
const ZIP64_LOCATOR = 20
/** Items of one file; a rank of a large model saves some 100 000. */
const MOST_ITEMS = 2_000_000

const wrong = (path: string, code: string, problem: string, offset: number) =>
  invalidFile(path, new FormatError(`distcp/${code}`, problem, { offset }))

/** Where the archive that ends at `end` begins. */
const startOf = async (file: StoredFile, path: string, end: number): Promise<number> => {
  const tail = Buffer.alloc(Math.min(end, END_RECORD + ZIP64_LOCATOR))
  await readFully(file, tail, end - tail.length)
  const record = tail.length - END_RECORD
  if (record < 0 || tail.readUInt32LE(record) !== 0x06054b50) throw wrong(path, "no-archive", "no torch.save archive ends here", end)
  let size = tail.readUInt32LE(record + 12)
  let at = tail.readUInt32LE(record + 16)
  let after = END_RECORD
  if (record >= ZIP64_LOCATOR && tail.readUInt32LE(record - ZIP64_LOCATOR) === 0x07064b50) {
    const header = Buffer.alloc(ZIP64_END)
    const position = end - END_RECORD - ZIP64_LOCATOR - ZIP64_END
    if (position < 0) throw wrong(path, "no-archive", "the archive's end record is cut off", end)
    await readFully(file, header, position)
    if (header.readUInt32LE(0) !== 0x06064b50) throw wrong(path, "no-archive", "the archive has no zip64 end record where it should be", position)
    size = Number(header.readBigUInt64LE(40))
    at = Number(header.readBigUInt64LE(48))
    after += ZIP64_LOCATOR + ZIP64_END
  }
  const start = end - after - size - at
  if (!Number.isSafeInteger(start) || start < 0 || start >= end) throw wrong(path, "no-archive", "the archive claims to begin before the file", end)
  return start
}

/** Names of the items of `file` that `.metadata` beside it gives, by byte offset. */
const namesBeside = async (store: Store, path: string) => {
  const names = new Map<number, { readonly key: string; readonly length: number }>()
  const directory = dirname(path)
  if (!(await store.list(directory)).includes(METADATA)) return names
  const metadataPath = join(directory, METADATA)
  const bytes = await readSmall(store, metadataPath, metadataPath, METADATA_LIMITS.maxBytes)
  const metadata = atPath(metadataPath, () => decodeMetadata(bytes))
  const file = basename(path)
  for (const [key, { chunks }] of metadata.tensors) {
    for (const chunk of chunks) {
      if (chunk.file === file) names.set(chunk.offset, { key: chunks.length > 1 ? `${key}[${chunk.offsets}]` : key, length: chunk.length })
    }
  }
  for (const [key, object] of metadata.objects) if (object.file === file) names.set(object.offset, { key, length: object.length })
  return names
}

/** Open one `.distcp` file. Errors: InvalidFile (`distcp/…`, `zip/…`, `pickle/…`, `torch/…`), IoError. */
export const itemSpace = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeInUse
  return yield* reading(async (): Promise<UnroutedSpace> => {
    const names = await namesBeside(store, path)
    const file = await store.open(path, "read")
    try {
      const { size } = await file.info()
      const starts: Array<number> = []
      for (let end = size; end > 0;) {
        if (starts.length >= MOST_ITEMS) throw wrong(path, "too-many", `has more than ${MOST_ITEMS} items`, end)
        starts.push(end = await startOf(file, path, end))
      }
      return await readItems(file, path, size, starts.reverse(), names)
    } finally {
      await file.close()
    }
  })
})

const readItems = async (
  file: StoredFile,
  path: string,
  size: number,
  starts: ReadonlyArray<number>,
  names: ReadonlyMap<number, { readonly key: string }>
): Promise<UnroutedSpace> => {
  const name = basename(path)
  const tensors = new Map<string, SpaceTensor>()
  const objects: Array<UnroutedSpace["objects"][number]> = []
  const notes: Array<string> = []
  for (const [number, start] of starts.entries()) {
    const length = (starts[number + 1] ?? size) - start
    const item = await readItem(file, path, start, length)
    const key = names.get(start)?.key ?? `item.${number}`
    if (item.kind === "object") {
      objects.push({ key: names.has(start) ? key : `${key}: ${item.text}`, file: name, offset: start, length })
      continue
    }
    const { dtype, shape } = item
    const unique = tensors.has(key) ? `${key} at ${start}` : key
    const { elements, offset, storage, strides } = item
    const place: ViewPlace = { kind: "view", directory: dirname(path), file: name, offset, elements, strides, item: { offset: start, length }, storage }
    tensors.set(unique, {
      name: unique,
      dtype,
      shape,
      bytes: bytesOfTensor(dtype, shape),
      role: "model",
      place
    })
  }
  if (names.size === 0) notes.push(`there is no ${METADATA} beside the file, so its items have no names`)
  return { kind: "items", path, directory: dirname(path), tensors, objects, files: [{ name, bytes: size }], notes }
}

const readItem = async (file: StoredFile, path: string, start: number, length: number) => {
  try {
    return await fromReader(length, rangesOf(file, start), (function*() {
      const { archive, value } = yield* parseArchive(length)
      if (typeof value !== "object" || value === null || !("kind" in value) || value.kind !== "object" || !isTensor(value)) {
        return { kind: "object" as const, text: describeValue(pyRead(value)) }
      }
      const view = yield* inPickle(archive, () => tensorView(value))
      const { crc32, dataOffset, dataLength } = yield* placeStorage(archive, view)
      const width = bytesOf(view.dtype)
      const offset = start + dataOffset + view.storageOffset * width
      const elements = dataLength / width - view.storageOffset
      const storage = { start: start + dataOffset, end: start + dataOffset + dataLength, crc32 }
      return { kind: "tensor" as const, dtype: view.dtype, shape: view.shape, offset, elements, storage, strides: fillsItsStorage(view) ? undefined : view.strides }
    })())
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    throw invalidFile(path, new FormatError(error.code, error.message, { ...error.place, offset: start + (error.place.offset ?? 0) }))
  }
}
