/**
 * The one builder of `.distcp` files: whatever writes a checkpoint puts its items into these, tensors and objects alike, and learns
 * where each one lies. Items are byte-identical to torch's (torch-dist-format.md C.6); every length is known before a byte
 * moves. It knows nothing of models.
 */
import type { Segment, SourceArray, TargetArray, TargetFile } from "../engine/index.ts"
import { identity, type Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { type TensorItem, tensorItem } from "../torch/TensorItem.ts"
import { rankFileName } from "./Placement.ts"

/** Where an item lies. */
export interface ItemPlace {
  readonly file: string
  readonly offset: number
  readonly length: number
}

/** The segments around the data of an item, one pair for all equal items. */
const frames = new WeakMap<TensorItem, Record<ItemPart["side"], Segment>>()
/** What a segment is, if it is one of those. */
const parts = new WeakMap<Segment, ItemPart>()
const frameOf = (item: TensorItem) => {
  let frame = frames.get(item)
  if (!frame) {
    frame = { before: { kind: "bytes", bytes: item.prefix }, after: { kind: "seal", length: item.suffixLength, bytes: item.suffix } }
    frames.set(item, frame)
    const { dtype, shape } = item
    for (const side of SIDES) parts.set(frame[side], { dtype, shape, side })
  }
  return frame
}

/** What stands before, or after, the data of an item: it follows from what the data are. */
export interface ItemPart {
  readonly dtype: DType
  /** As torch sees it. */
  readonly shape: Shape
  readonly side: (typeof SIDES)[number]
}

const SIDES = ["before", "after"] as const

/** The part of an item that a segment is; undefined for any other. */
export const itemPartOf = (segment: Segment): ItemPart | undefined => parts.get(segment)

/** The segment again. @throws FormatError `torch/dtype`, `torch/shape` */
export const itemSegment = ({ dtype, shape, side }: ItemPart): Segment => frameOf(tensorItem(dtype, shape))[side]

export type BytesSegment = Extract<Segment, { kind: "bytes" }>

/** One segment serves for any number of items with the same bytes. */
export const bytesSegment = (bytes: Uint8Array): BytesSegment => ({ kind: "bytes", bytes })

class ItemFile {
  readonly name: string
  readonly #segments: Array<Segment> = []
  #size = 0

  constructor(name: string) {
    this.name = name
  }

  #place(length: number, ...segments: ReadonlyArray<Segment>): ItemPlace {
    const place = { file: this.name, offset: this.#size, length }
    this.#segments.push(...segments)
    this.#size += length
    return place
  }

  /** An object's item, whole. */
  object(segment: BytesSegment): ItemPlace {
    return this.#place(segment.bytes.byteLength, segment)
  }

  /** A tensor's item. `shape`: as torch sees the chunk, with leading ones; the array's own shape may lack them. */
  tensor(array: TargetArray, shape: Shape): ItemPlace {
    const item = tensorItem(array.dtype, shape)
    const { after, before } = frameOf(item)
    return this.#place(item.length, before, { kind: "array", array, crc: true }, after)
  }

  /** An item as it lies elsewhere: `length` bytes of a file, named after what they hold. */
  verbatim(bytes: Pick<SourceArray, "path" | "offset">, key: string, length: number): ItemPlace {
    const source: SourceArray = { path: bytes.path, offset: bytes.offset, dtype: "U8", shape: [length] }
    const copies = () => (length === 0 ? [] : [identity(source, key, [length])])
    return this.#place(length, { kind: "array", array: { id: key, dtype: "U8", shape: [length], copies }, crc: false })
  }

  file(): TargetFile {
    return { name: this.name, size: this.#size, segments: this.#segments }
  }
}

export type { ItemFile }

/** The data files of a checkpoint, each begun when it is first asked for. */
export class ItemFiles {
  readonly #files = new Map<string, ItemFile>()

  /** The file of this name. */
  named(name: string): ItemFile {
    let file = this.#files.get(name)
    if (!file) this.#files.set(name, file = new ItemFile(name))
    return file
  }

  /** File `number` of a rank. */
  of(rank: number, number: number): ItemFile {
    return this.named(rankFileName({ rank, number }))
  }

  get names(): ReadonlyArray<string> {
    return [...this.#files.keys()]
  }

  files(): ReadonlyArray<TargetFile> {
    return [...this.#files.values()].map((file) => file.file())
  }
}
