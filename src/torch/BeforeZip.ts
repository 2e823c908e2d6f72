/**
 * Files that `torch.save` wrote before version 1.6, and later with `_use_new_zipfile_serialization=False`: pickles one behind the
 * other (a magic number, a version, facts of the machine, the object, the keys of the storages), then the storages in the order of
 * the keys, each as its number of elements (int64) and its data. There are no checksums.
 */
import { FormatError } from "../errors.ts"
import { bytesOf } from "../tensor/DType.ts"
import { dtypeOfStorage, UNTYPED_STORAGE } from "./Globals.ts"
import { unpickleFirst } from "./Pickle.ts"
import { type PicklePolicy, SMALL_PICKLE } from "./PicklePolicy.ts"
import { PickleDict, PickleList, type PickleValue } from "./PickleValue.ts"
import type { Ranged } from "./Ranges.ts"
import { pickleFrom, type SavedFile } from "./SavedFile.ts"
import { storageId, type StoragePlace, type TensorView } from "./TensorView.ts"

/** 0x1950a86a20f9469cfc6c as a pickle of protocol 2. */
const MAGIC = Buffer.from("80028a0a6cfc9c46f9206aa850192e", "hex")
const VERSION = 1001
/** First read of a pickle, whose length nothing says; each further one is twice as long. */
const FIRST_READ = 64 << 10
const MAX_STORAGES = 200_000
const COUNT_BYTES = 8

const fail = (code: string, problem: string, offset: number): never => {
  throw new FormatError(`torch/${code}`, problem, { offset })
}

/** By the first 16 bytes. */
export const isBeforeZip = (start: Uint8Array): boolean => MAGIC.equals(start.subarray(0, MAGIC.length))

/** The pickle at `at` and where it ends; what is wrong with it is said of its place in the file. */
function* pickleAt(at: number, length: number, policy: PicklePolicy): Ranged<{ readonly value: PickleValue; readonly end: number }> {
  for (let count = FIRST_READ; ; count *= 2) {
    const available = Math.min(count, length - at, SMALL_PICKLE.maxBytes)
    if (available <= 0) return fail("before-zip", "the file ends where a pickle should begin", at)
    const bytes = yield { offset: at, length: available }
    try {
      const { end, value } = unpickleFirst(bytes, policy)
      return { value, end: at + end }
    } catch (error) {
      if (!(error instanceof FormatError)) throw error
      if (error.code === "pickle/truncated" && available === count) continue
      throw new FormatError(error.code, error.message, { ...error.place, offset: at + (error.place.offset ?? 0) })
    }
  }
}

/** Bytes of a storage by what refers to it. */
const storageBytes = (id: PickleValue): readonly [key: string, bytes: number, width: number] => {
  const { elements, key, kind } = storageId(id)
  const dtype = dtypeOfStorage(kind.id)
  const width = dtype === undefined ? 1 : bytesOf(dtype)
  if (dtype === undefined && kind.id !== UNTYPED_STORAGE) throw new FormatError("torch/dtype", `${kind.id.replace(" ", ".")} is not a storage that is supported here`)
  if (typeof elements !== "number" || !Number.isSafeInteger(elements * width) || elements < 0) throw new FormatError("torch/tensor", "the length of a storage is no count")
  return [key, elements * width, width]
}

type Sizes = ReadonlyMap<string, readonly [bytes: number, width: number]>

/** Where every storage lies, by its key; the count of its elements stands in front of it. */
const storagesFrom = (start: number, length: number, keys: PickleValue, sizes: Sizes): ReadonlyMap<string, StoragePlace> => {
  if (!(keys instanceof PickleList)) return fail("before-zip", "there is no list of storages behind the object", start)
  if (keys.items.length > MAX_STORAGES) fail("before-zip", `${keys.items.length} storages; at most ${MAX_STORAGES} are read`, start)
  const places = new Map<string, StoragePlace>()
  let at = start
  for (const key of keys.items) {
    const known = typeof key === "string" && !places.has(key) ? sizes.get(key) : undefined
    if (!known) return fail("before-zip", "the list of storages names one that nothing refers to, or one twice", at)
    const [bytes] = known
    if (at + COUNT_BYTES + bytes > length) return fail("before-zip", `a storage of ${bytes} bytes does not fit the file, which ends at byte ${length}: it is cut short`, at)
    places.set(key as string, { dataOffset: at + COUNT_BYTES, dataLength: bytes, crc32: 0 })
    at += COUNT_BYTES + bytes
  }
  if (at !== length) fail("before-zip", `${length - at} bytes follow the last storage`, at)
  return places
}

/** The storage of a view; its count must be what refers to it says. */
function* placed({ key }: TensorView, places: ReadonlyMap<string, StoragePlace>, sizes: Sizes, start: number): Ranged<StoragePlace> {
  const place = places.get(key) ?? fail("no-data", `the storage ${key} is missing`, start)
  const at = place.dataOffset - COUNT_BYTES
  const count = Buffer.from(yield { offset: at, length: COUNT_BYTES }).readBigInt64LE(0)
  const expected = place.dataLength / sizes.get(key)![1]
  if (count !== BigInt(expected)) fail("data-size", `a storage says that it has ${count} elements, what refers to it ${expected}`, at)
  return place
}

/** Of every storage that something refers to. */
const sizesOf = (ids: ReadonlyArray<PickleValue>): Sizes => {
  const sizes = new Map<string, readonly [number, number]>()
  for (const id of ids) {
    const [key, ...size] = storageBytes(id)
    const known = sizes.get(key)
    if (known && known[0] !== size[0]) throw new FormatError("torch/data-size", `the storage ${key} is said to have ${known[0]} and ${size[0]} bytes`)
    sizes.set(key, size)
  }
  return sizes
}

/** The object of a file that {@link isBeforeZip}. Errors: `torch/before-zip`, `torch/byte-order`, `torch/data-size`, `pickle/…`. */
export function* parseBeforeZip(length: number, policy: PicklePolicy): Ranged<SavedFile> {
  const plain: PicklePolicy = { globals: new Set() }
  const version = yield* pickleAt(MAGIC.length, length, plain)
  if (version.value !== VERSION) fail("before-zip", `version ${String(version.value)} of the format; torch has written no other than ${VERSION}`, MAGIC.length)
  const machine = yield* pickleAt(version.end, length, plain)
  if (!(machine.value instanceof PickleDict)) fail("before-zip", "there are no facts of the machine in front of the object", version.end)
  else if (machine.value.get("little_endian") === false) fail("byte-order", "the data is big-endian", version.end)
  const ids: Array<PickleValue> = []
  const start = machine.end
  const object = yield* pickleAt(start, length, { ...policy, persistentId: (id) => void ids.push(id) })
  const inPickle = pickleFrom(start)
  const sizes = inPickle(() => sizesOf(ids))
  const keys = yield* pickleAt(object.end, length, plain)
  const places = storagesFrom(keys.end, length, keys.value, sizes)
  return { value: object.value, place: (view) => placed(view, places, sizes, start), inPickle }
}
