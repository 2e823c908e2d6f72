/** Checksums of the files that a relabelling leaves as they are: the same, with the tensors under their new names. */
import { join } from "node:path"
import { type Checksums, decodeChecksums, type FileChecksums, LARGEST_CHECKSUMS, type TensorChecksums } from "../publish/integrity/Checksums.ts"
import { CHECKSUMS } from "../publish/integrity/names.ts"
import { InvalidFile } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { readSmall } from "../store/readSmall.ts"
import type { DcpMetadata } from "../torch/DcpMetadata.ts"

/** The checksums of a checkpoint folder; the error if they are damaged. */
export const readChecksums = async (store: Store, directory: string): Promise<Checksums | InvalidFile> => {
  const path = join(directory, CHECKSUMS)
  const bytes = await readSmall(store, path, path, LARGEST_CHECKSUMS)
  try {
    return decodeChecksums(path, bytes)
  } catch (error) {
    if (error instanceof InvalidFile) return error
    throw error
  }
}

interface Item {
  readonly key: string
  readonly begin: number
  readonly end: number
}

/** What lies in each file by an index, in the order of the bytes. */
const itemsByFile = ({ objects, tensors }: DcpMetadata, files: ReadonlySet<string>): ReadonlyMap<string, ReadonlyArray<Item>> => {
  const items = new Map<string, Array<Item>>([...files].map((file) => [file, []]))
  const put = (key: string, { file, length, offset }: { readonly file: string; readonly offset: number; readonly length: number }) =>
    items.get(file)?.push({ key, begin: offset, end: offset + length })
  for (const [key, { chunks }] of tensors) for (const chunk of chunks) put(key, chunk)
  for (const [key, object] of objects) put(key, object)
  for (const own of items.values()) own.sort((a, b) => a.begin - b.begin)
  return items
}

export interface CarriedSums {
  readonly file: FileChecksums
  readonly tensors: ReadonlyArray<TensorChecksums>
}

/** The checksums of `files` as `before` has them, with the names of the index `after`. Files that `before` lacks are left out. */
export const carriedSums = (before: Checksums, after: DcpMetadata, files: ReadonlySet<string>): ReadonlyArray<CarriedSums> => {
  const items = itemsByFile(after, files)
  const spans = Map.groupBy(before.tensors, (t) => t.file)
  return before.files.filter((f) => files.has(f.name)).map((file) => {
    const own = items.get(file.name)!
    let at = 0
    const tensors = (spans.get(file.name) ?? []).toSorted((a, b) => a.begin - b.begin).map((span) => {
      while (at < own.length && own[at]!.end < span.end) at++
      const item = own[at]
      return item && item.begin <= span.begin ? { ...span, name: item.key } : span
    })
    return { file, tensors }
  })
}
