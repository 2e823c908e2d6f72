/**
 * Object items (`common_state/shard_0_1`, `…._extra_state/shard_0_1`) and `common.pt`: plain data in `torch.save` archives.
 * A stored object is the list of the local shards of its key, in practice of one.
 */
import { FormatError } from "../errors.ts"
import { openArchive, readPickle } from "./Archive.ts"
import type { Archive } from "./Archive.ts"
import { TENSOR_GLOBALS } from "./Globals.ts"
import { PickleList } from "./PickleValue.ts"
import type { PickleValue } from "./PickleValue.ts"
import { pyRead } from "./PyValue.ts"
import type { PyRead, PyValue } from "./PyValue.ts"
import { parseBytes, fromReader } from "./Ranges.ts"
import type { Ranged, RangeReader } from "./Ranges.ts"
import { saveArchive } from "./SaveArchive.ts"

/** The item that stores one object: `torch.save([value])`. */
export const objectItem = (value: PyValue): Uint8Array => saveArchive("archive", [value])

/**
 * The objects of an item, usually one. Classes that are not known come back as opaque values; nothing is executed. An item
 * that is refused can still be copied verbatim.
 *
 * Errors: `torch/object` (not a list), `zip/…`, `pickle/…`, `torch/…`.
 */
export const readObjectItem = (length: number, read: RangeReader): Promise<ReadonlyArray<PyRead>> =>
  fromReader(length, read, parseObjectItem(length))

/** {@link readObjectItem} as a parser over ranges. */
export function* parseObjectItem(length: number): Ranged<ReadonlyArray<PyRead>> {
  const { value } = yield* parseArchive(length)
  if (!(value instanceof PickleList)) throw new FormatError("torch/object", "the item does not hold a list of objects")
  return pyRead(value) as ReadonlyArray<PyRead>
}

/** `common.pt`: `torch.save(dict)` under that name, as Megatron-Core up to 0.18 keeps its common state. */
export const commonFile = (common: ReadonlyMap<PyValue, PyValue>): Uint8Array => saveArchive("common", common)

/** Reads any archive in memory that holds one value, e.g. `common.pt`. Errors: `zip/…`, `pickle/…`, `torch/…`. */
export const readArchive = (bytes: Uint8Array): PyRead => pyRead(parseBytes(bytes, parseArchive(bytes.length)).value)

/** The archive and its value, unknown classes opaque. */
export function* parseArchive(length: number): Ranged<{ readonly archive: Archive; readonly value: PickleValue }> {
  const archive = yield* openArchive(length)
  return { archive, value: yield* readPickle(archive, { globals: TENSOR_GLOBALS, persistent: true, opaque: true }) }
}
