/** `content_metadata` of the common state: the flags by which a loader decides which keys it asks for. */
import { join } from "node:path"
import { LARGEST_COMMON, readCommonState } from "../checkpoint/CommonState.ts"
import { COMMON_FILE, COMMON_STATE } from "../checkpoint/names.ts"
import { readOwn } from "../checkpoint/ownFile.ts"
import { atPath } from "../document/decode.ts"
import { FormatError } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { readFully } from "../store/Store.ts"
import { isNotThere } from "../store/existing.ts"
import type { DcpMetadata, StoredObject } from "../torch/DcpMetadata.ts"
import { withEntry } from "../torch/DictEdit.ts"
import { commonFile, objectItem } from "../torch/ObjectItem.ts"
import { PyFloat, type PyRead, PyOpaque, PyTensorView, type PyValue } from "../torch/PyValue.ts"

const FIELD = "content_metadata"

/** What was read as a value that can be written; undefined where it holds a class or a tensor. */
const writable = (value: PyRead): PyValue | undefined => {
  if (value instanceof PyOpaque || value instanceof PyTensorView) return undefined
  if (value instanceof PyFloat || value === null || typeof value !== "object") return value
  const entries: ReadonlyArray<PyRead> = value instanceof Map ? [...value as ReadonlyMap<PyRead, PyRead>].flat() : value as ReadonlyArray<PyRead>
  const own: Array<PyValue> = []
  for (const entry of entries) {
    const item = writable(entry)
    if (item === undefined) return undefined
    own.push(item)
  }
  return value instanceof Map ? new Map(Array.from({ length: own.length / 2 }, (_, i) => [own[2 * i]!, own[2 * i + 1]!])) : own
}

/** The flags as they will be; undefined where nothing changes. */
const changed = (common: ReadonlyMap<PyRead, PyRead>, flags: ReadonlyMap<string, boolean | null>): ReadonlyMap<PyValue, PyValue> | undefined => {
  const old = common.get(FIELD)
  const current = old instanceof Map ? old as ReadonlyMap<PyRead, PyRead> : new Map<PyRead, PyRead>()
  const changes = [...flags].filter(([field, value]) => (value === null ? current.has(field) : current.get(field) !== value))
  if (changes.length === 0) return undefined
  const content = writable(current)
  if (!(content instanceof Map)) throw new FormatError("checkpoint/content-metadata", `${FIELD} holds objects of Python, so its flags cannot be changed`, { field: FIELD })
  const out = new Map(content as ReadonlyMap<PyValue, PyValue>)
  for (const [field, value] of changes) {
    if (value === null) out.delete(field)
    else out.set(field, value)
  }
  return out
}

const itemBytes = async (store: Store, directory: string, { file: name, length, offset }: StoredObject): Promise<Uint8Array> => {
  if (length > LARGEST_COMMON) throw new FormatError("checkpoint/common-state-size", `the common state has ${length} bytes; no more than ${LARGEST_COMMON} are read`)
  const file = await store.open(join(directory, name), "read")
  try {
    const bytes = new Uint8Array(length)
    await readFully(file, bytes, offset)
    return bytes
  } finally {
    await file.close()
  }
}

export interface NewCommonState {
  /** `common.pt`, where there is one. */
  readonly file?: Uint8Array
  /** The item of the object {@link COMMON_STATE}, where there is one. */
  readonly item?: Uint8Array
}

/** The common state of a checkpoint with some flags set or (null) removed; empty where nothing changes. */
export const withFlags = async (store: Store, directory: string, metadata: DcpMetadata, flags: ReadonlyMap<string, boolean | null>): Promise<NewCommonState> => {
  const common = flags.size === 0 ? undefined : await readCommonState(store, directory, metadata)
  if (!(common?.value instanceof Map)) return {}
  const content = atPath(join(directory, common.file), () => changed(common.value as ReadonlyMap<PyRead, PyRead>, flags))
  if (!content) return {}
  const file = await readOwn(store, directory, COMMON_FILE, LARGEST_COMMON).catch((error: unknown) => {
    if (isNotThere(error)) return undefined
    throw error
  })
  const object = metadata.objects.get(COMMON_STATE)
  const whole = writable(common.value)
  if (whole instanceof Map) {
    const value = new Map(whole as ReadonlyMap<PyValue, PyValue>).set(FIELD, content)
    return { ...(file ? { file: commonFile(value) } : {}), ...(object ? { item: objectItem(value) } : {}) }
  }
  // Arguments of a run and other objects stay as they are written.
  const item = object && await itemBytes(store, directory, object)
  return {
    ...(file ? { file: atPath(join(directory, COMMON_FILE), () => withEntry(file, FIELD, content)) } : {}),
    ...(item ? { item: atPath(join(directory, object.file), () => withEntry(item, FIELD, content)) } : {})
  }
}
