/**
 * What stands around the data of items: the headers of all chunks in use of a file, in few reads. An item ends where the next one
 * begins, so one read serves both; where items are small, it serves many. Items that are as torch 2.13 writes them are recognised,
 * others parsed one by one.
 */
import { FormatError, type InvalidFile, invalidFile } from "../errors.ts"
import type { StoredFile } from "../store/Store.ts"
import { readFully } from "../store/Store.ts"
import { sameShape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import type { StoredChunk } from "../torch/DcpMetadata.ts"
import { readTensorItem, storedItem, type StoredTensorItem, type TensorItem, tensorItem } from "../torch/TensorItem.ts"

/** A chunk that copies refer to. */
export interface ChunkSource {
  readonly key: string
  readonly chunk: StoredChunk
  readonly dtype: DType
  /** Once it is read: the CRC-32 of the data or, if the item is not as torch 2.13 writes it, all that its header says. */
  header: number | StoredTensorItem | undefined
}

/** The item of a chunk whose header is read. */
export const itemOf = ({ chunk, dtype, header }: ChunkSource): StoredTensorItem | undefined =>
  typeof header === "number" ? storedItem(tensorItem(dtype, shapeOf(chunk)), header) : header

const shapeOf = ({ itemSizes, sizes }: StoredChunk): ReadonlyArray<number> => itemSizes ?? sizes

/** Data up to this many bytes is read along: a further call costs more. */
const LARGEST_GAP = 16 << 10
const LARGEST_READ = 256 << 10
const CONCURRENT_READS = 8
const CONCURRENT_PARSES = 32

/**
 * Read the headers of chunks that lie in one file and check them against `.metadata` (dtype, shape, strides).
 *
 * @throws InvalidFile naming file, tensor and byte offset.
 */
export const readItemHeaders = async (file: StoredFile, sources: Iterable<ChunkSource>): Promise<void> => {
  const inOrder = [...sources].sort((a, b) => a.chunk.offset - b.chunk.offset)
  await recognise(file, inOrder)
  const others = inOrder.values().filter((source) => source.header === undefined)
  await together(CONCURRENT_PARSES, async () => {
    for (const source of others) source.header = await parse(file, source)
  })
}

const together = async (count: number, work: () => Promise<void>): Promise<void> => {
  await Promise.all(Array.from({ length: count }, work))
}

const refused = (file: StoredFile, { chunk, key }: ChunkSource, { code, message, place: { offset = 0, record } }: FormatError): InvalidFile =>
  invalidFile(file.path, new FormatError(code, message, { tensor: key, record, offset: chunk.offset + offset }))

/** The bytes before, or after, the data of an item whose length is that of an item of torch 2.13. */
interface Edge {
  readonly source: ChunkSource
  readonly item: TensorItem
  readonly side: "before" | "after"
  readonly start: number
  readonly end: number
}

function* edgesOf(file: StoredFile, sources: ReadonlyArray<ChunkSource>): Generator<Edge> {
  for (const source of sources) {
    const { length, offset } = source.chunk
    const item = expected(file, source)
    if (item.length !== length) continue
    const end = offset + length
    yield { source, item, side: "before", start: offset, end: offset + item.prefix.length }
    yield { source, item, side: "after", start: end - item.suffixLength, end }
  }
}

const expected = (file: StoredFile, source: ChunkSource): TensorItem => {
  try {
    return tensorItem(source.dtype, shapeOf(source.chunk))
  } catch (error) {
    throw error instanceof FormatError ? refused(file, source, error) : error
  }
}

/** Neighbours, as many as one read serves. */
function* readsOf(edges: Iterable<Edge>): Generator<ReadonlyArray<Edge>> {
  let read: Array<Edge> = []
  for (const edge of edges) {
    if (read.length > 0 && (edge.start - read.at(-1)!.end > LARGEST_GAP || edge.end - read[0]!.start > LARGEST_READ)) {
      yield read
      read = []
    }
    read.push(edge)
  }
  if (read.length > 0) yield read
}

const recognise = async (file: StoredFile, sources: ReadonlyArray<ChunkSource>): Promise<void> => {
  const foreign: Array<ChunkSource> = []
  const reads = readsOf(edgesOf(file, sources))
  await together(CONCURRENT_READS, async () => {
    let room = new Uint8Array(0)
    for (const edges of reads) {
      const from = edges[0]!.start
      const length = edges.at(-1)!.end - from
      if (room.length < length) room = new Uint8Array(length)
      await readFully(file, room.subarray(0, length), from)
      for (const { end, item, side, source, start } of edges) {
        const bytes = room.subarray(start - from, end - from)
        if (side === "after") source.header = item.crcIn(bytes)
        else if (Buffer.compare(bytes, item.prefix) !== 0) foreign.push(source)
      }
    }
  })
  for (const source of foreign) source.header = undefined
}

const parse = async (file: StoredFile, source: ChunkSource): Promise<StoredTensorItem> => {
  const { chunk, dtype } = source
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const bytes = new Uint8Array(length)
    await readFully(file, bytes, chunk.offset + offset)
    return bytes
  }
  try {
    const item = await readTensorItem(chunk.length, read)
    if (item.dtype !== dtype) throw new FormatError("checkpoint/dtype", `.metadata says ${dtype}, the stored tensor is ${item.dtype}`)
    if (!sameShape(item.shape, shapeOf(chunk))) {
      throw new FormatError("checkpoint/chunk-shape", `.metadata says [${shapeOf(chunk)}], the stored tensor is [${item.shape}]`)
    }
    return item
  } catch (error) {
    throw error instanceof FormatError ? refused(file, source, error) : error
  }
}
