/**
 * One entry of a dict inside a `torch.save` archive set to another value. The opcodes that set it are put in front of the end of
 * the pickle: everything else that the dict holds, objects of any class among it, stays as it is written.
 */
import { FormatError } from "../errors.ts"
import { openArchive } from "./Archive.ts"
import { parseArchive } from "./ObjectItem.ts"
import { Op } from "./PickleOps.ts"
import { PickleList } from "./PickleValue.ts"
import { PickleWriter } from "./PickleWriter.ts"
import type { PyValue } from "./PyValue.ts"
import { parseBytes } from "./Ranges.ts"
import { writeValue } from "./SaveArchive.ts"
import { readRecord } from "./Zip.ts"
import { archiveOf } from "./ZipWriter.ts"

/** torch.save writes this one; later protocols have frames, which would have to be measured anew. */
const PROTOCOL = 2

/** `key value SETITEM`, for the dict on top of the stack. */
const setting = (key: string, value: PyValue): Uint8Array => {
  const pickle = new PickleWriter()
  const storages: Array<Uint8Array> = []
  pickle.text(key)
  writeValue(pickle, value, storages, 0)
  if (storages.length > 0) throw new FormatError("torch/value", "a tensor cannot be set as an entry")
  // Without its PROTO and its STOP. What it remembers is remembered after everything that was ever asked for.
  return pickle.setItem().stop().subarray(2, -1)
}

/**
 * `archive`: of a dict (`common.pt`), or of the list of one dict (an object's item). Errors: `torch/edit` for a pickle that ends
 * otherwise, and those of reading.
 */
export const withEntry = (archive: Uint8Array, key: string, value: PyValue): Uint8Array => {
  const { records, root } = parseBytes(archive, openArchive(archive.length))
  const contents = [...records].map(([name, record]) => ({ name, content: parseBytes(archive, readRecord(record, archive.length)) }))
  const isItem = parseBytes(archive, parseArchive(archive.length)).value instanceof PickleList
  // The dict is complete, and on top, before it is put into its list or before the end.
  const ending = isItem ? [Op.APPEND, Op.STOP] : [Op.STOP]
  return archiveOf(contents.map(({ content, name }) => {
    if (name !== `${root}/data.pkl`) return { name, content }
    const at = content.length - ending.length
    if (content[0] !== Op.PROTO || content[1] !== PROTOCOL || !ending.every((op, i) => content[at + i] === op)) {
      throw new FormatError("torch/edit", "the pickle does not end as torch.save ends it, so no entry of it can be set", { record: name })
    }
    return { name, content: Buffer.concat([content.subarray(0, at), setting(key, value), content.subarray(at)]) }
  }))
}
