/** A file of `torch.save` (`.pt`, `.pth`, `.bin`): its tensors by their path through dicts and lists, everything else as facts. */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import { basename, dirname } from "node:path"
import { FormatError, invalidFile } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import { bytesOf } from "../tensor/DType.ts"
import { parseSaved } from "../torch/parseSaved.ts"
import { pyRead, type PyRead, PyTensorView } from "../torch/PyValue.ts"
import { fromReader, type Ranged, rangesOf } from "../torch/Ranges.ts"
import type { SavedFile } from "../torch/SavedFile.ts"
import { fillsItsStorage } from "../torch/TensorItem.ts"
import type { StoragePlace } from "../torch/TensorView.ts"
import { describeValue } from "./describeValue.ts"
import type { UnroutedSpace } from "./OpenedSpace.ts"
import { bytesOfTensor, type SpaceTensor } from "./TensorSpace.ts"

/** Values that are no tensors; a state dict has a few, a training state some thousand. */
const MOST_FACTS = 1000

interface Found {
  readonly tensors: Map<string, PyTensorView>
  readonly facts: Map<string, string>
}

/** `pyRead` has bounded depth and number. */
const walk = (value: PyRead, path: string, found: Found): void => {
  if (value instanceof PyTensorView) found.tensors.set(path || "tensor", value)
  else if (value instanceof Map) for (const [key, item] of value as ReadonlyMap<PyRead, PyRead>) walk(item, join(path, key), found)
  else if (Array.isArray(value) && value.some((item) => item instanceof PyTensorView || item instanceof Map)) {
    for (const [i, item] of (value as ReadonlyArray<PyRead>).entries()) walk(item, join(path, i), found)
  } else if (found.facts.size < MOST_FACTS) found.facts.set(path || "value", describeValue(value))
}

const join = (path: string, key: PyRead): string => (path === "" ? String(key) : `${path}.${String(key)}`)

function* placeAll(saved: SavedFile, views: ReadonlyMap<string, PyTensorView>): Ranged<Map<string, StoragePlace>> {
  const places = new Map<string, StoragePlace>()
  for (const [name, { view }] of views) places.set(name, yield* saved.place(view))
  return places
}

/** Open one file. Errors: InvalidFile (`zip/…`, `pickle/…`, `torch/…`), IoError. */
export const archiveSpace = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeInUse
  return yield* reading(async (): Promise<UnroutedSpace> => {
    const file = await store.open(path, "read")
    try {
      const { size } = await file.info()
      const found: Found = { tensors: new Map(), facts: new Map() }
      const stored = await fromReader(size, rangesOf(file), (function*() {
        const saved = yield* parseSaved(size)
        walk(saved.inPickle(() => pyRead(saved.value)), "", found)
        return yield* placeAll(saved, found.tensors)
      })())
      return describe(path, size, found, stored)
    } catch (error) {
      throw error instanceof FormatError ? invalidFile(path, error) : error
    } finally {
      await file.close()
    }
  })
})

const describe = (path: string, size: number, found: Found, stored: ReadonlyMap<string, StoragePlace>): UnroutedSpace => {
  const file = basename(path)
  const tensors = new Map<string, SpaceTensor>()
  for (const [name, { view }] of found.tensors) {
    const { crc32, dataLength, dataOffset } = stored.get(name)!
    const { dtype, shape, storageOffset } = view
    const offset = dataOffset + storageOffset * bytesOf(dtype)
    const elements = dataLength / bytesOf(dtype) - storageOffset
    const place = {
      kind: "view" as const,
      directory: dirname(path),
      file,
      offset,
      elements,
      strides: fillsItsStorage(view) ? undefined : view.strides,
      item: { offset: dataOffset, length: dataLength },
      storage: { start: dataOffset, end: dataOffset + dataLength, crc32 }
    }
    tensors.set(name, { name, dtype, shape, bytes: bytesOfTensor(dtype, shape), role: "model", place })
  }
  return {
    kind: "archive",
    path,
    directory: dirname(path),
    tensors,
    objects: [],
    files: [{ name: file, bytes: size }],
    notes: found.facts.size >= MOST_FACTS ? [`only the first ${MOST_FACTS} values that are no tensors are listed`] : [],
    common: found.facts
  }
}
