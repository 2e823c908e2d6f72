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

/** Errors: those of reading; `torch/value`. */
export const rewriteArchive = (archive: Uint8Array, change: (value: PickleValue) => PickleValue): Uint8Array => {
  const { records, root } = parseBytes(archive, openArchive(archive.length))
  const value = parseBytes(archive, parseArchive(archive.length)).value
  const contents = [...records].map(([name, record]) => ({
    name,
    content: name === `${root}/data.pkl` ? encodePickle(change(value)) : parseBytes(archive, readRecord(record, archive.length))
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

/** A dict with entries changed in their places, and new ones at its end. */
export const withEntries = (dict: PickleDict, changes: Changes): PickleDict => {
  const out = new PickleDict()
  const left = new Map(changes)
  for (let i = 0; i < dict.entries.length; i += 2) {
    const [key, value] = [dict.entries[i]!, dict.entries[i + 1]!]
    if ((typeof key !== "string" && typeof key !== "number") || !changes.has(key)) out.extend([key, value])
    else if (changes.get(key) !== undefined) out.extend([key, pickled(changes.get(key)!)])
    left.delete(key as string | number)
  }
  for (const [key, value] of left) if (value !== undefined) out.extend([key, pickled(value)])
  return out
}

/** An object with attributes changed; one whose state is no dict stays as it is. */
export const withAttributes = (object: PickleObject, changes: Changes): PickleObject => {
  if (!(object.state instanceof PickleDict)) return object
  const out = new PickleObject(object.global, object.args, object.isNew)
  out.list = object.list
  out.dict = object.dict
  out.state = withEntries(object.state, changes)
  return out
}
