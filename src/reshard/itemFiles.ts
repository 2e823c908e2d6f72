/**
 * Items on their way into files. A file whose tensors are all those of one file of the source stays that file, whatever its new name is;
 * what little of it changed (the common state) goes into a file beside it. Pure.
 */
import { type BytesSegment, ItemFiles, type ItemPlace } from "../checkpoint/ItemFile.ts"
import { rankFileName } from "../checkpoint/Placement.ts"
import type { TargetArray, TargetFile } from "../engine/index.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DcpMetadata } from "../torch/DcpMetadata.ts"

export interface PlannedItem {
  readonly key: string
  /** Name of the file it goes to. */
  readonly file: string
  readonly isTensor: boolean
  /** An item of the source taken over, an array to be assembled, or bytes that are there. */
  readonly from: { readonly stored: ItemPlace } | { readonly array: TargetArray; readonly sizes: Shape } | { readonly bytes: BytesSegment }
  /** Told where it lies. */
  readonly settle: (place: ItemPlace) => void
}

/** A data file of the source that stays as it is. */
export interface KeptFile {
  readonly source: string
  readonly name: string
}

export interface PlannedFiles {
  readonly files: ReadonlyArray<TargetFile>
  readonly kept: ReadonlyArray<KeptFile>
}

/** Tensor items of each data file, by their offsets. */
const tensorItems = ({ tensors }: DcpMetadata): ReadonlyMap<string, ReadonlySet<number>> => {
  const items = new Map<string, Set<number>>()
  for (const { chunks } of tensors.values()) {
    for (const { file, offset } of chunks) {
      let own = items.get(file)
      if (!own) items.set(file, own = new Set())
      own.add(offset)
    }
  }
  return items
}

/** The file of the source that a file would repeat. */
const repeated = (items: ReadonlyArray<PlannedItem>, source: ReadonlyMap<string, ReadonlySet<number>>): string | undefined => {
  const offsets = new Set<number>()
  let file: string | undefined
  for (const { from, isTensor } of items) {
    if (!isTensor) continue
    if (!("stored" in from) || (file !== undefined && from.stored.file !== file)) return undefined
    file = from.stored.file
    offsets.add(from.stored.offset)
  }
  return file !== undefined && source.get(file)!.size === offsets.size ? file : undefined
}

export const plannedFiles = (items: ReadonlyArray<PlannedItem>, metadata: DcpMetadata, pathOf: (file: string) => string): PlannedFiles => {
  const source = tensorItems(metadata)
  const byFile = Map.groupBy(items, ({ file }) => file)
  const outputs = new ItemFiles()
  const kept: Array<KeptFile> = []
  const beside = unusedFile(new Set([...byFile.keys(), ...source.keys()]))
  for (const [name, own] of byFile) {
    const same = repeated(own, source)
    if (same === undefined) {
      const writer = new Writer(outputs, pathOf)
      // Objects come first, as trainers write them.
      for (const item of own) if (!item.isTensor) writer.write(name, item)
      for (const item of own) if (item.isTensor) writer.write(name, item)
      continue
    }
    kept.push({ source: same, name })
    const writer = new Writer(outputs, pathOf)
    for (const item of own) {
      if ("stored" in item.from && item.from.stored.file === same) item.settle({ ...item.from.stored, file: name })
      else writer.write(beside, item)
    }
  }
  return { files: outputs.files(), kept }
}

class Writer {
  readonly #outputs: ItemFiles
  readonly #pathOf: (file: string) => string
  /** Items that several keys share. */
  readonly #copied = new Map<string, ItemPlace>()

  constructor(outputs: ItemFiles, pathOf: (file: string) => string) {
    this.#outputs = outputs
    this.#pathOf = pathOf
  }

  write(name: string, { from, key, settle }: PlannedItem): void {
    const file = this.#outputs.named(name)
    if ("bytes" in from) return settle(file.object(from.bytes))
    if ("array" in from) return settle(file.tensor(from.array, from.sizes))
    const { file: own, length, offset } = from.stored
    const id = `${own}/${offset}/${length}`
    let place = this.#copied.get(id)
    if (!place) this.#copied.set(id, place = file.verbatim({ path: this.#pathOf(own), offset }, key, length))
    settle(place)
  }
}

/** A name that no data file has, of rank 0. */
const unusedFile = (names: ReadonlySet<string>): string => {
  for (let number = 1; ; number++) {
    const name = rankFileName({ rank: 0, number })
    if (!names.has(name)) return name
  }
}
