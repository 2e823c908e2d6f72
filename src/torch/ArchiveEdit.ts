/**
 * The value of a `torch.save` archive, changed. Its objects, of whatever class, are carried as they were read, and the storages of its
 * tensors stay where they are; only the pickle is written anew.
 */
import { contentHash, openArchive, SERIALIZATION_ID, SERIALIZATION_ID_LENGTH } from "./Archive.ts"
import { encodePickle } from "./encodePickle.ts"
import { parseArchive } from "./ObjectItem.ts"
import { PickleDict, PickleList, PickleObject, PyFloat } from "./PickleValue.ts"
import type { PickleValue } from "./PickleValue.ts"
import { parseBytes } from "./Ranges.ts"
import { readRecord } from "./Zip.ts"
import { archiveOf } from "./ZipWriter.ts"

/** The archive itself where the value stays. Errors: those of reading; `torch/value`. */
export const rewriteArchive = (archive: Uint8Array, change: (value: PickleValue) => PickleValue): Uint8Array => {
  const { records, root } = parseBytes(archive, openArchive(archive.length))
  const value = parseBytes(archive, parseArchive(archive.length)).value
  const changed = change(value)
  if (changed === value) return archive
  const contents = [...records].map(([name, record]) => ({
    name,
    content: name === `${root}/data.pkl` ? encodePickle(changed) : parseBytes(archive, readRecord(record, archive.length))
  }))
  const id = `${root}/${SERIALIZATION_ID}`
  const before = contents.filter(({ name }) => name !== id)
  const old = contents.find(({ name }) => name === id)?.content
  return archiveOf(old ? [...before, { name: id, content: renewedId(old, before.map(({ content }) => content)) }] : before)
}

/** The first half depends on the names of the records, which are the same; the second on what is in them. */
const renewedId = (old: Uint8Array, contents: ReadonlyArray<Uint8Array>): Uint8Array => {
  const names = Buffer.from(old).toString("latin1").slice(0, SERIALIZATION_ID_LENGTH / 2)
  return Buffer.from(names + contentHash(contents).toString().padStart(SERIALIZATION_ID_LENGTH / 2, "0"), "latin1")
}

/** Plain values as a pickle holds them; a number is an int, a fraction has to be a {@link PyFloat}. */
export type PlainValue = null | boolean | number | string | PyFloat | PickleDict | PickleList | PickleObject | { readonly [key: string]: PlainValue }

export const pickled = (value: PlainValue): PickleValue => {
  if (value === null || typeof value !== "object" || value instanceof PyFloat || value instanceof PickleDict || value instanceof PickleList || value instanceof PickleObject) return value
  return dictOf(Object.entries(value))
}

/** A dict of these entries. */
export const dictOf = (entries: Iterable<readonly [PickleValue, PlainValue]>): PickleDict => {
  const dict = new PickleDict()
  for (const [key, value] of entries) dict.extend([key, pickled(value)])
  return dict
}

/** Changes of a dict's entries, by key; undefined removes one. */
export type Changes = ReadonlyMap<string | number, PlainValue | undefined>

/** Of the last entry with this key, as Python would keep it; undefined where there is none. */
const valueAt = ({ entries }: PickleDict, key: string | number): PickleValue | undefined => {
  for (let i = entries.length - 2; i >= 0; i -= 2) if (entries[i] === key) return entries[i + 1]
  return undefined
}

/** A dict with entries changed in their places, and new ones at its end; itself where nothing changes. */
export const withEntries = (dict: PickleDict, changes: Changes): PickleDict => {
  const left = new Map([...changes].filter(([key, value]) => valueAt(dict, key) !== value))
  if (left.size === 0) return dict
  const changed = new Map(left)
  const out = new PickleDict()
  for (let i = 0; i < dict.entries.length; i += 2) {
    const [key, value] = [dict.entries[i]!, dict.entries[i + 1]!]
    if ((typeof key !== "string" && typeof key !== "number") || !changed.has(key)) out.extend([key, value])
    else if (changed.get(key) !== undefined) out.extend([key, pickled(changed.get(key)!)])
    left.delete(key as string | number)
  }
  for (const [key, value] of left) if (value !== undefined) out.extend([key, pickled(value)])
  return out
}

/** An object with attributes changed; one whose state is no dict stays as it is. */
export const withAttributes = (object: PickleObject, changes: Changes): PickleObject => {
  const state = object.state instanceof PickleDict ? withEntries(object.state, changes) : object.state
  if (state === object.state) return object
  const out = new PickleObject(object.global, object.args, object.isNew)
  out.list = object.list
  out.dict = object.dict
  out.state = state
  return out
}
