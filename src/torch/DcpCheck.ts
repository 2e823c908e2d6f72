/**
 * What torch never checks about `.metadata`: that the chunks of every tensor tile it, and that every item lies inside its
 * file and apart from the others.
 */
import { FormatError, quote } from "../errors.ts"
import { bitsOf } from "../tensor/DType.ts"
import { cover } from "./BoxCover.ts"
import type { DcpMetadata, StoredChunk, StoredObject, StoredTensor } from "./DcpMetadata.ts"

export interface CheckOptions {
  /** `torch_dist` (default): object keys end in `/shard_{offset}_{shape}`. `any`: plain DCP, where they are free. */
  readonly objectKeys?: "torch_dist" | "any"
  /** Tensors whose first axis counts layers, of which some may have no chunks: those of adapters, which not every layer need have. */
  readonly sparse?: (key: string) => boolean
}

const OBJECT_KEY = /^[^/]+\/shard_\d+(\.\d+)*_\d+(\.\d+)*$/

const fail = (code: string, problem: string, tensor: string): never => {
  throw new FormatError(`dcp/${code}`, problem, { tensor })
}

/**
 * Throws at the first thing wrong. `fileSizes`: bytes of every file in the directory.
 *
 * Errors: `dcp/too-large` (element or byte counts beyond 2^53), `dcp/outside` (a chunk leaves its tensor), `dcp/hole`,
 * `dcp/overlap`, `dcp/irregular` (chunks too irregular to check), `dcp/object-key`, `dcp/no-file`, `dcp/beyond-file`,
 * `dcp/shared-bytes`.
 */
export const checkMetadata = (
  metadata: DcpMetadata,
  fileSizes: ReadonlyMap<string, number>,
  options: CheckOptions = {}
): void => {
  for (const [key, tensor] of metadata.tensors) {
    if (options.sparse?.(key) && tensor.shape.length > 2) for (const layer of layersOf(tensor)) checkCover(key, layer)
    else checkCover(key, tensor)
  }
  if (options.objectKeys !== "any") {
    for (const key of metadata.objects.keys()) {
      if (!OBJECT_KEY.test(key)) fail("object-key", "the key of an object does not end in /shard_{offset}_{shape}", key)
    }
  }
  checkStorage(metadata, fileSizes)
}

/** Chunks lie inside the tensor and cover each element once. A box listed twice with one and the same item is a replica. */
const checkCover = (key: string, tensor: StoredTensor): void => {
  const { chunks, dtype, shape } = tensor
  const elements = shape.reduce((a, b) => a * b, 1)
  if (!Number.isSafeInteger(elements * bitsOf(dtype))) fail("too-large", `a tensor of [${shape}] has too many elements`, key)
  for (const { offsets, sizes } of chunks) {
    for (let axis = 0; axis < shape.length; axis++) {
      if (!(offsets[axis]! + sizes[axis]! <= shape[axis]!)) {
        fail("outside", `the chunk at [${offsets}] of size [${sizes}] leaves the shape [${shape}]`, key)
      }
    }
  }
  const boxes = withoutReplicas(chunks.filter(({ sizes }) => !sizes.includes(0)))
  const found = cover(shape, boxes)
  switch (found.kind) {
    case "exact": return
    case "hole": return fail("hole", `no chunk holds (all of) the elements from [${found.from}] to [${found.to}]`, key)
    case "irregular": return fail("irregular", `its ${chunks.length} chunks are cut too irregularly to be checked`, key)
    case "overlap": {
      const [a, b] = [boxes[found.a]!, boxes[found.b]!]
      return fail("overlap", `${describe(a)} and ${describe(b)} hold the same elements`, key)
    }
  }
}

/** What is stored of each layer, as a tensor of its own. A chunk of several layers makes all of them one. */
const layersOf = (tensor: StoredTensor): ReadonlyArray<StoredTensor> => {
  const { chunks, dtype, shape } = tensor
  if (chunks.some(({ offsets, sizes }) => sizes[0] !== 1 || !(offsets[0]! < shape[0]!))) return [tensor]
  const own = [1, ...shape.slice(1)]
  return Array.from(Map.groupBy(chunks, ({ offsets }) => offsets[0]!).values(), (layer) => ({
    dtype,
    shape: own,
    chunks: layer.map((chunk) => ({ ...chunk, offsets: [0, ...chunk.offsets.slice(1)] }))
  }))
}

const withoutReplicas = (chunks: ReadonlyArray<StoredChunk>): ReadonlyArray<StoredChunk> => {
  if (chunks.length < 2) return chunks
  const seen = new Set<string>()
  return chunks.filter(({ file, length, offset, offsets, sizes }) => {
    const identity = `${offsets.join()};${sizes.join()};${offset};${length};${file}`
    return seen.size !== seen.add(identity).size
  })
}

const describe = ({ file, length, offset, offsets, sizes }: StoredChunk) =>
  `the chunk at [${offsets}] of size [${sizes}] (${quote(file)}, bytes ${offset} to ${offset + length})`

/** The items of one file, and the keys that they belong to. */
interface FileItems {
  readonly items: Array<StoredObject | StoredChunk>
  readonly keys: Array<string>
}

/** Items lie inside their files. Two items may only share bytes if they are one: objects, or replicas of one chunk. */
const checkStorage = (metadata: DcpMetadata, fileSizes: ReadonlyMap<string, number>): void => {
  const files = new Map<string, FileItems>()
  const add = (key: string, item: StoredObject | StoredChunk) => {
    const { file, length, offset } = item
    const size = fileSizes.get(file)
    if (size === undefined) return fail("no-file", `its data is in ${quote(file)}, which is missing`, key)
    if (!(offset + length <= size)) {
      fail("beyond-file", `its data is in ${quote(file)}, bytes ${offset} to ${offset + length}, but the file has ${size}`, key)
    }
    let own = files.get(file)
    if (!own) files.set(file, own = { items: [], keys: [] })
    own.items.push(item)
    own.keys.push(key)
  }
  for (const [key, object] of metadata.objects) add(key, object)
  for (const [key, { chunks }] of metadata.tensors) for (const chunk of chunks) add(key, chunk)
  for (const [file, own] of files) checkApart(file, own)
}

const checkApart = (file: string, { items, keys }: FileItems): void => {
  const order = Uint32Array.from(items.keys()).sort((i, j) => items[i]!.offset - items[j]!.offset || items[i]!.length - items[j]!.length)
  for (let n = 1; n < order.length; n++) {
    const [i, j] = [order[n - 1]!, order[n]!]
    const [last, item] = [items[i]!, items[j]!]
    if (item.offset >= last.offset + last.length || isSame(last, item, keys[i] === keys[j])) continue
    const range = ({ length, offset }: StoredObject) => `bytes ${offset} to ${offset + length}`
    fail("shared-bytes", `its data in ${quote(file)}, ${range(item)}, overlaps that of ${quote(keys[i]!)}, ${range(last)}`, keys[j]!)
  }
}

const isSame = (a: StoredObject | StoredChunk, b: StoredObject | StoredChunk, sameKey: boolean): boolean => {
  if (a.offset !== b.offset || a.length !== b.length) return false
  if (!("sizes" in a && "sizes" in b)) return "sizes" in a === "sizes" in b
  return sameKey && String(a.offsets) === String(b.offsets) && String(a.sizes) === String(b.sizes)
}
