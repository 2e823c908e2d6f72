/**
 * Tensor items: the bytes of one chunk in a `.distcp` file, which are those of `torch.save(tensor)`.
 *
 * Written items are byte-identical to torch 2.13 (x86-64 wheels): a prefix that depends on dtype and shape, the data, and a
 * suffix that also depends on the data's CRC-32. So data can be streamed, and its checksum may come last.
 */
import { bitsOf } from "../tensor/DType.ts"
import type { DType } from "../tensor/DType.ts"
import {
  contentHash, foldCrc, inPickle, LEADING, openArchive, readPickle, SERIALIZATION_ID, SERIALIZATION_ID_LENGTH, serializationId, VERSION_RECORD
} from "./Archive.ts"
import { crc32 } from "./Crc32.ts"
import { TENSOR_GLOBALS } from "./Globals.ts"
import { fromReader } from "./Ranges.ts"
import type { Ranged, RangeReader } from "./Ranges.ts"
import { contiguousStrides, tensorLength, tensorPickle } from "./TensorPickle.ts"
import { isInOrder, placeStorage, tensorView } from "./TensorView.ts"
import type { StoragePlace, TensorView } from "./TensorView.ts"
import { layOut } from "./ZipWriter.ts"

export interface TensorItem {
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  /** Everything before the data. Shared between equal items: do not write into it. */
  readonly prefix: Uint8Array
  /** Bytes of data: little-endian, row-major. */
  readonly dataLength: number
  readonly suffixLength: number
  /** Everything after the data, given the CRC-32 of the data. */
  readonly suffix: (dataCrc32: number) => Uint8Array
  /** The CRC-32 of the data that a suffix states; undefined if it is no suffix of such an item. */
  readonly crcIn: (suffix: Uint8Array) => number | undefined
  /** Bytes of the whole item. */
  readonly length: number
}

/** A tensor item that was read: the view, and where its storage is. */
export type StoredTensorItem = TensorView & StoragePlace

/** Where the CRC-32 of a record stands in its data descriptor and in its entry of the directory. */
const CRC_IN_DESCRIPTOR = 4
const CRC_IN_ENTRY = 16

/** Distinct items kept; a model has a few dozen distinct chunk shapes. */
const CACHE_SIZE = 1024
const cache = new Map<string, TensorItem>()

/**
 * The item for a tensor of this dtype and shape. Cheap when repeated. Errors: `torch/dtype`, `torch/shape`.
 */
export const tensorItem = (dtype: DType, shape: ReadonlyArray<number>): TensorItem => {
  const key = `${dtype} ${shape.join()}`
  const known = cache.get(key)
  if (known) return known
  const item = build(dtype, [...shape])
  if (cache.size >= CACHE_SIZE) cache.clear()
  cache.set(key, item)
  return item
}

const build = (dtype: DType, shape: ReadonlyArray<number>): TensorItem => {
  const dataLength = tensorLength(dtype, shape)
  const before = [{ name: "data.pkl", content: tensorPickle(dtype, shape) }, ...LEADING]
  const layout = layOut([
    ...before.map(({ content, name }) => ({ name, length: content.length })),
    { name: "data/0", length: dataLength },
    { name: VERSION_RECORD.name, length: VERSION_RECORD.content.length },
    { name: SERIALIZATION_ID, length: SERIALIZATION_ID_LENGTH }
  ].map(({ length, name }) => ({ name: `archive/${name}`, length })))
  const data = before.length
  const crcs = before.map(({ content }) => crc32(content))
  const versionCrc = crc32(VERSION_RECORD.content)
  const prefix = Buffer.concat([
    ...before.flatMap(({ content }, i) => [layout.header(i), content, layout.descriptor(i, crcs[i]!)]),
    layout.header(data)
  ])
  const hashBefore = contentHash(before.map(({ content }) => content))
  const [versionHeader, versionDescriptor, idHeader] = [
    layout.header(data + 1), layout.descriptor(data + 1, versionCrc), layout.header(data + 2)
  ]
  const suffix = (dataCrc: number): Uint8Array => {
    const crc = dataLength === 0 ? 0 : dataCrc
    const hash = dataLength === 0 ? hashBefore : foldCrc(hashBefore, crc)
    const id = Buffer.from(serializationId(1, foldCrc(hash, versionCrc)), "latin1")
    const idCrc = crc32(id)
    return Buffer.concat([
      layout.descriptor(data, crc),
      versionHeader, VERSION_RECORD.content, versionDescriptor,
      idHeader, id, layout.descriptor(data + 2, idCrc),
      layout.trailer([...crcs, crc, versionCrc, idCrc])
    ])
  }
  const suffixLength = layout.length - prefix.length - dataLength
  const usual = suffix(0)
  const idAt = layout.descriptor(data, 0).length + versionHeader.length + VERSION_RECORD.content.length + versionDescriptor.length + idHeader.length
  const [dataCrcAt, idCrcAt] = layout.entryOffset([data, data + 2]).map((at) => at - prefix.length - dataLength + CRC_IN_ENTRY) as [number, number]
  /** What depends on the data, in order: its CRC twice, and the id that torch derives from it, with its own. */
  const varying = [
    ...(dataLength > 0 ? [[CRC_IN_DESCRIPTOR, CRC_IN_DESCRIPTOR + 4] as const] : []),
    [idAt, idAt + SERIALIZATION_ID_LENGTH + CRC_IN_DESCRIPTOR + 4],
    [dataCrcAt, dataCrcAt + 4],
    [idCrcAt, idCrcAt + 4]
  ] as const
  const constant = [...varying, [suffixLength]].map(([end], i) => [varying[i - 1]?.[1] ?? 0, end] as const)
  const crcIn = (bytes: Uint8Array): number | undefined => {
    if (bytes.length !== suffixLength) return undefined
    const found = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (const [start, end] of constant) if (found.compare(usual, start, end, start, end) !== 0) return undefined
    if (dataLength === 0) return 0
    const crc = found.readUInt32LE(CRC_IN_DESCRIPTOR)
    return found.readUInt32LE(dataCrcAt) === crc ? crc : undefined
  }
  return { dtype, shape, prefix, dataLength, suffixLength, suffix, crcIn, length: layout.length }
}

/** What {@link readTensorItem} finds in the `item` whose suffix states this CRC-32. */
export const storedItem = ({ dataLength, dtype, prefix, shape }: TensorItem, crc32: number): StoredTensorItem => ({
  dtype,
  shape,
  strides: contiguousStrides(shape),
  storageOffset: 0,
  key: "0",
  storageLength: dataLength,
  dataOffset: prefix.length,
  dataLength,
  crc32
})

/**
 * Reads the structure of a tensor item of `length` bytes, not its data. Items of older torch, views and other layouts are
 * understood.
 *
 * Errors: `zip/…`, `pickle/…`, `torch/…` of the archive, the pickle and the tensor.
 */
export const readTensorItem = (length: number, read: RangeReader): Promise<StoredTensorItem> => fromReader(length, read, parseTensorItem(length))

/** {@link readTensorItem} as a parser over ranges. */
export function* parseTensorItem(length: number): Ranged<StoredTensorItem> {
  const archive = yield* openArchive(length)
  const value = yield* readPickle(archive, { globals: TENSOR_GLOBALS, persistent: true })
  const view = yield* inPickle(archive, () => tensorView(value))
  const place = yield* placeStorage(archive, view)
  return { ...view, ...place }
}

/** The view is the whole storage in row-major order: its bytes can be copied as they are. */
export const fillsItsStorage = (item: TensorView): boolean => {
  const elements = item.shape.reduce((a, b) => a * b, 1)
  if (item.storageOffset !== 0 || elements * (bitsOf(item.dtype) / 8) !== item.storageLength) return false
  return isInOrder(item)
}
