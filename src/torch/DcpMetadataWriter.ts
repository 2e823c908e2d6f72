/**
 * Writes `.metadata` in the smallest form that every torch since 2.3 loads: protocol 2, no storage_meta, no version, no ids
 * and no time, so that equal input gives equal bytes. Class names, sizes and keys are written once and referred to.
 */
import { FormatError } from "../errors.ts"
import { torchName } from "../tensor/DType.ts"
import type { DcpMetadata, StoredChunk, StoredObject, StoredTensor } from "./DcpMetadata.ts"
import { Dcp, SIZE } from "./Globals.ts"
import { BATCH, PickleWriter } from "./PickleWriter.ts"

/**
 * The bytes of `.metadata`. The order of tensors, chunks and objects is kept, tensors first. `className` is not: what is
 * written is always torch's own class, without Megatron's historic extras.
 *
 * Errors: `dcp/dtype` (torch has no such dtype), `dcp/flattened` (fragments of old optimizer states), `pickle/integer`.
 */
export const encodeMetadata = (metadata: DcpMetadata): Uint8Array => {
  if (metadata.flattened) throw new FormatError("dcp/flattened", "tensors in flattened fragments cannot be written")
  const pickle = new PickleWriter()
  instance(pickle, Dcp.metadata[0], () => {
    pickle.sharedText("state_dict_metadata")
    batched(pickle, tables(metadata), ([key, tensor]) => {
      pickle.sharedText(key)
      if (tensor === undefined) pickle.sharedGlobal(Dcp.bytes[0]).emptyTuple().newObject()
      else writeTensorEntry(pickle, tensor, key)
    })
    pickle.sharedText("planner_data").none()
    pickle.sharedText("storage_data")
    batched(pickle, places(metadata), (place) => writeStorageEntry(pickle, place))
  })
  return pickle.stop()
}

function* tables(metadata: DcpMetadata): Generator<readonly [string, StoredTensor | undefined]> {
  yield* metadata.tensors
  for (const key of metadata.objects.keys()) yield [key, undefined]
}

interface StoredPlace extends StoredObject {
  readonly key: string
  readonly index: number | undefined
  readonly offsets: ReadonlyArray<number> | undefined
}

function* places(metadata: DcpMetadata): Generator<StoredPlace> {
  for (const [key, { chunks }] of metadata.tensors) {
    const written = chunks.length > 1 ? new Set<string>() : undefined
    for (const [index, { file, length, offset, offsets }] of chunks.entries()) {
      // Replicas of one box have one storage entry.
      if (written && written.size === written.add(offsets.join()).size) continue
      yield { key, index, offsets, file, offset, length }
    }
  }
  for (const [key, { file, length, offset }] of metadata.objects) yield { key, index: undefined, offsets: undefined, file, offset, length }
}

const writeTensorEntry = (pickle: PickleWriter, { chunks, dtype, shape }: StoredTensor, key: string) => {
  const name = torchName(dtype)
  if (name === undefined) throw new FormatError("dcp/dtype", `torch has no dtype ${dtype}`, { tensor: key })
  instance(pickle, Dcp.tensor[0], () => {
    pickle.sharedText("properties").sharedGlobal(Dcp.properties[0]).emptyTuple().newObject()
    // dtype, layout, requires_grad, memory format, pin_memory; a tuple cannot change, so equal ones are shared.
    pickle.shared(`properties ${name}`, () =>
      pickle.mark().sharedGlobal(`torch ${name}`)
        .shared("layout", () => pickle.sharedGlobal(Dcp.layout).text("torch.strided").tupleOf(1).reduce())
        .boolean(false)
        .shared("memory format", () => pickle.sharedGlobal(Dcp.memoryFormat[0]).int(0).tupleOf(1).reduce())
        .boolean(false).tuple())
    pickle.build()
    pickle.sharedText("size")
    writeSize(pickle, shape)
    pickle.sharedText("chunks").emptyList()
    for (let from = 0; from < chunks.length; from += BATCH) {
      pickle.mark()
      for (const chunk of chunks.slice(from, from + BATCH)) writeChunk(pickle, chunk)
      pickle.appends()
    }
  })
}

const writeChunk = (pickle: PickleWriter, { offsets, sizes }: StoredChunk) =>
  instance(pickle, Dcp.chunk[0], () => {
    pickle.sharedText("offsets")
    writeSize(pickle, offsets)
    pickle.sharedText("sizes")
    writeSize(pickle, sizes)
  })

const writeStorageEntry = (pickle: PickleWriter, { file, index, key, length, offset, offsets }: StoredPlace) => {
  instance(pickle, Dcp.index[0], () => {
    pickle.sharedText("fqn").sharedText(key).sharedText("index")
    if (index === undefined) pickle.none()
    else pickle.int(index)
    if (offsets === undefined) return
    pickle.sharedText("offset")
    writeSize(pickle, offsets)
  })
  instance(pickle, Dcp.storage[0], () =>
    pickle.sharedText("relative_path").sharedText(file).sharedText("offset").int(offset).sharedText("length").int(length))
}

/** An instance with attributes. */
const instance = (pickle: PickleWriter, global: string, attributes: () => void) => {
  pickle.sharedGlobal(global).emptyTuple().newObject().emptyDict().mark()
  attributes()
  pickle.setItems().build()
}

const writeSize = (pickle: PickleWriter, sizes: ReadonlyArray<number>) => {
  pickle.shared(`size ${sizes.join()}`, () => {
    pickle.sharedGlobal(SIZE).mark()
    for (const size of sizes) pickle.int(size)
    pickle.tuple().tupleOf(1).reduce()
  })
}

/** A dict whose items `write` appends, in batches as CPython writes them. */
const batched = <A>(pickle: PickleWriter, items: Iterable<A>, write: (item: A) => void) => {
  pickle.emptyDict()
  let open = 0
  for (const item of items) {
    if (open === 0) pickle.mark()
    write(item)
    open = (open + 1) % BATCH
    if (open === 0) pickle.setItems()
  }
  if (open > 0) pickle.setItems()
}
