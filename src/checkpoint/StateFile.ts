/**
 * A file that `torch.save({"model": {name: tensor}}, path)` writes, as segments: every length is known before a byte moves, so that the
 * tensors are streamed into their places. A name without an array stands for None. Pure.
 */
import { lengthOf, type Segment, type TargetArray, type TargetFile } from "../engine/index.ts"
import { contentHash, LEADING, SERIALIZATION_ID, serializationId, VERSION_RECORD } from "../torch/Archive.ts"
import { crc32 } from "../torch/Crc32.ts"
import { PyTensorHeader } from "../torch/PyValue.ts"
import { pickleOf } from "../torch/SaveArchive.ts"
import { layOut } from "../torch/ZipWriter.ts"

/** What a record of the archive holds: bytes, or an array that comes. */
interface StateRecord {
  readonly name: string
  readonly content: Uint8Array | Extract<Segment, { kind: "array" }>
}

const sizeOf = ({ content }: StateRecord): number => (content instanceof Uint8Array ? content.byteLength : lengthOf(content))

/** `data.pkl`, what torch puts beside it, and each tensor as a storage of its own. */
const recordsOf = (model: ReadonlyMap<string, TargetArray | undefined>): ReadonlyArray<StateRecord> => {
  const arrays = new Map<PyTensorHeader, TargetArray>()
  const value = new Map(Array.from(model, ([key, array]) => {
    if (array === undefined) return [key, null] as const
    const tensor = new PyTensorHeader(array.dtype, array.shape)
    arrays.set(tensor, array)
    return [key, tensor] as const
  }))
  const storages: Array<TargetArray> = []
  const pickle = pickleOf<PyTensorHeader>(new Map([["model", value]]), (tensor) => storages.push(arrays.get(tensor)!) - 1)
  const literals = [{ name: "data.pkl", content: pickle }, ...LEADING]
  // Of what is not there yet the id says nothing: no reader looks at it.
  const id = serializationId(storages.length, contentHash([...literals, VERSION_RECORD].map(({ content }) => content)))
  return [
    ...literals,
    ...storages.map((array, i) => ({ name: `data/${i}`, content: { kind: "array", array, crc: true } as const })),
    VERSION_RECORD,
    { name: SERIALIZATION_ID, content: Buffer.from(id, "latin1") }
  ]
}

/** `root`: the folder within the archive, which torch calls by the stem of the file's name. */
export const stateFile = (name: string, root: string, model: ReadonlyMap<string, TargetArray | undefined>): TargetFile => {
  const records = recordsOf(model)
  const layout = layOut(records.map((record) => ({ name: `${root}/${record.name}`, length: sizeOf(record) })))
  const segments: Array<Segment> = []
  const literal = (bytes: Uint8Array): void => { if (bytes.byteLength > 0) segments.push({ kind: "bytes", bytes }) }
  const sealed = (length: number, bytes: (crc: number) => Uint8Array, of: { readonly start: number; readonly end: number }): void => {
    segments.push({ kind: "seal", length, bytes, of })
  }
  const rangeOf = (i: number) => ({ start: layout.contentOffset[i]!, end: layout.contentOffset[i]! + sizeOf(records[i]!) })
  for (const [i, record] of records.entries()) {
    const { content } = record
    literal(layout.header(i))
    if (content instanceof Uint8Array) {
      literal(content)
      literal(layout.descriptor(i, crc32(content)))
    } else if (sizeOf(record) > 0) {
      segments.push(content)
      sealed(layout.descriptor(i, 0).byteLength, (crc) => layout.descriptor(i, crc), rangeOf(i))
    }
  }
  for (const [i, record] of records.entries()) {
    const { content } = record
    if (content instanceof Uint8Array || sizeOf(record) === 0) literal(layout.entry(i, content instanceof Uint8Array ? crc32(content) : 0))
    else sealed(layout.entry(i, 0).byteLength, (crc) => layout.entry(i, crc), rangeOf(i))
  }
  literal(layout.end)
  return { name, size: layout.length, segments }
}
