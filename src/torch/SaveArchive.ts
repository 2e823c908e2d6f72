/**
 * `torch.save` of plain data, byte-identical to torch 2.13 but for two things nothing reads: the name half of the
 * serialization id of archives with 2 to 7 or more than 8 storages, and CPython's empty last batch after a dict of exactly
 * 1000, 2000, … items.
 */
import { FormatError } from "../errors.ts"
import { contentHash, LEADING, SERIALIZATION_ID, serializationId, VERSION_RECORD } from "./Archive.ts"
import { BATCH, PickleWriter } from "./PickleWriter.ts"
import { PyFloat, PyTensorHeader } from "./PyValue.ts"
import type { PyTensor, PyValue, PyValueOf } from "./PyValue.ts"
import { tensorLength, writeTensor } from "./TensorPickle.ts"
import { archiveOf } from "./ZipWriter.ts"

/** Nesting of what is written; readers stop at the same depth. */
const MAX_DEPTH = 64

/**
 * An archive that holds `value`. `root` is `archive` for items, the stem of the name for files of their own
 * (`train_state` for `train_state.pt`).
 *
 * Details: equal strings are written once, as Python does for interned ones; a container or tensor that occurs twice is
 * shared. Errors: `torch/value` (tensor data of the wrong length, nesting), `torch/dtype`, `torch/shape`.
 */
export const saveArchive = (root: string, value: PyValue): Uint8Array => {
  const storages: Array<Uint8Array> = []
  const pickle = pickleOf<PyTensor>(value, ({ data, dtype, shape }) => {
    if (data.length !== tensorLength(dtype, shape)) throw new FormatError("torch/value", `${data.length} bytes for a ${dtype} tensor of [${shape}]`)
    return storages.push(data) - 1
  })
  return archiveOfPickle(root, pickle, storages)
}

/** The pickle of a value alone. `storageOf`: the number of the storage that will hold a tensor, which is asked once for each. Errors: those of {@link saveArchive}. */
export const pickleOf = <T extends PyTensorHeader>(value: PyValueOf<T>, storageOf: (tensor: T) => number): Uint8Array => {
  const pickle = new PickleWriter()
  writeValue(pickle, value, storageOf, 0)
  return pickle.stop()
}

/** An archive of a pickle and the storages that it refers to, in the order of their keys. */
export const archiveOfPickle = (root: string, pickle: Uint8Array, storages: ReadonlyArray<Uint8Array> = []): Uint8Array => {
  const before = [
    { name: "data.pkl", content: pickle },
    ...LEADING,
    ...storages.map((content, i) => ({ name: `data/${i}`, content })),
    VERSION_RECORD
  ]
  const id = serializationId(storages.length, contentHash(before.map(({ content }) => content)))
  const records = [...before, { name: SERIALIZATION_ID, content: Buffer.from(id, "latin1") }]
  return archiveOf(records.map(({ content, name }) => ({ name: `${root}/${name}`, content })))
}

/** A value by the opcodes that put it on the stack. */
const writeValue = <T extends PyTensorHeader>(pickle: PickleWriter, value: PyValueOf<T>, storageOf: (tensor: T) => number, depth: number): void => {
  if (depth > MAX_DEPTH) throw new FormatError("torch/value", `a value nested more than ${MAX_DEPTH} deep`)
  if (value === null) pickle.none()
  else if (typeof value === "boolean") pickle.boolean(value)
  else if (typeof value === "string") pickle.sharedText(value)
  else if (typeof value === "bigint" || Number.isInteger(value)) pickle.int(value as number | bigint)
  else if (typeof value === "number") pickle.float(value)
  else if (value instanceof PyFloat) pickle.float(value.value)
  else if (pickle.recall(value)) return
  else if (value instanceof PyTensorHeader) writeTensor(pickle, value.dtype, value.shape, String(storageOf(value)), value)
  else if (value instanceof Map) {
    pickle.emptyDict().memoise(value)
    writeBatches(pickle, [...value] as Array<readonly [PyValueOf<T>, PyValueOf<T>]>, { one: () => pickle.setItem(), many: () => pickle.setItems() }, ([key, item]) => {
      writeValue(pickle, key, storageOf, depth + 1)
      writeValue(pickle, item, storageOf, depth + 1)
    })
  } else {
    pickle.emptyList().memoise(value)
    writeBatches(pickle, value as ReadonlyArray<PyValueOf<T>>, { one: () => pickle.append(), many: () => pickle.appends() }, (item) =>
      writeValue(pickle, item, storageOf, depth + 1))
  }
}

/** CPython's batching: a single element has its own opcode, more go in marked batches. */
const writeBatches = <A>(
  pickle: PickleWriter,
  items: ReadonlyArray<A>,
  add: { readonly one: () => void; readonly many: () => void },
  write: (item: A) => void
) => {
  if (items.length === 1) {
    write(items[0]!)
    return add.one()
  }
  for (let from = 0; from < items.length; from += BATCH) {
    pickle.mark()
    for (const item of items.slice(from, from + BATCH)) write(item)
    add.many()
  }
}
