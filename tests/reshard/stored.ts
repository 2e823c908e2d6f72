/** What a checkpoint folder holds, read item by item: global tensors by their hashes, and how they are cut. */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { stridesOf, volume } from "../../src/tensor/Copy.ts"
import { bytesOf, torchName } from "../../src/tensor/DType.ts"
import { decodeMetadata, type DcpMetadata, type StoredTensor } from "../../src/torch/DcpMetadata.ts"
import { readObjectItem } from "../../src/torch/ObjectItem.ts"
import { readTensorItem } from "../../src/torch/TensorItem.ts"

export const iterationIn = (parent: string): string => join(parent, readdirSync(parent).find((name) => name.startsWith("iter_"))!)

export const metadataOf = (folder: string): DcpMetadata => decodeMetadata(readFileSync(join(folder, ".metadata")))

/** Files of a folder, each read once. */
const filesIn = (folder: string): ((file: string) => Buffer) => {
  const read = new Map<string, Buffer>()
  return (file) => {
    const bytes = read.get(file) ?? readFileSync(join(folder, file))
    read.set(file, bytes)
    return bytes
  }
}

/** The C-order bytes of a global tensor. */
export const globalBytes = async (folder: string, { chunks, dtype, shape }: StoredTensor, contentOf = filesIn(folder)): Promise<Buffer> => {
  const width = bytesOf(dtype)
  const out = Buffer.alloc(volume(shape) * width)
  const strides = stridesOf(shape)
  for (const { file, length: bytes, offset, offsets, sizes } of chunks) {
    const item = contentOf(file).subarray(offset, offset + bytes)
    const view = await readTensorItem(bytes, (at, count) => Promise.resolve(item.subarray(at, at + count)))
    // Row by row; a row of one step in both lies together.
    const length = sizes.at(-1) ?? 1
    const rows = stridesOf(sizes.slice(0, -1))
    const together = sizes.length === 0 || length === 1 || view.strides.at(-1) === 1
    for (let row = 0; row < volume(sizes) / length; row++) {
      let [to, from, rest] = [offsets.at(-1) ?? 0, view.storageOffset, row]
      for (const [k, step] of rows.entries()) {
        const index = Math.floor(rest / step)
        rest -= index * step
        to += (offsets[k]! + index) * strides[k]!
        from += index * view.strides[k]!
      }
      if (together) item.copy(out, to * width, view.dataOffset + from * width, view.dataOffset + (from + length) * width)
      else for (let i = 0; i < length; i++, from += view.strides.at(-1)!) item.copy(out, (to + i) * width, view.dataOffset + from * width, view.dataOffset + (from + 1) * width)
    }
  }
  return out
}

export interface TensorSummary {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly sha256: string
}

/** Every tensor of a folder, as the facts of a case say it. */
export const summaries = async (folder: string): Promise<Record<string, TensorSummary>> => {
  const out: Record<string, TensorSummary> = {}
  const contentOf = filesIn(folder)
  for (const [key, tensor] of metadataOf(folder).tensors) {
    out[key] = { dtype: torchName(tensor.dtype)!, shape: tensor.shape, sha256: createHash("sha256").update(await globalBytes(folder, tensor, contentOf)).digest("hex") }
  }
  return out
}

/** The item of a stored object. */
export const itemIn = (folder: string, key: string): Uint8Array => {
  const { file, length, offset } = metadataOf(folder).objects.get(key)!
  return readFileSync(join(folder, file)).subarray(offset, offset + length)
}

/** The value of a stored object. */
export const objectIn = async (folder: string, key: string): Promise<unknown> => {
  const item = itemIn(folder, key)
  const [value] = await readObjectItem(item.length, (at, count) => Promise.resolve(item.subarray(at, at + count)))
  return value
}

/** How tensors are cut: the boxes of each, in order. */
export const grids = (folder: string): Record<string, ReadonlyArray<string>> =>
  Object.fromEntries([...metadataOf(folder).tensors].map(([key, { chunks }]) => [key, chunks.map(({ offsets, sizes }) => `${offsets}+${sizes}`).sort()]))

/** Which items each data file holds, by key and box. */
export const placement = (folder: string): Record<string, ReadonlyArray<string>> => {
  const { objects, tensors } = metadataOf(folder)
  const rows = [
    ...[...objects].map(([key, { file }]) => [file, key] as const),
    ...[...tensors].flatMap(([key, { chunks }]) => chunks.map((c) => [c.file, `${key} ${c.offsets}+${c.sizes}`] as const))
  ]
  return Object.fromEntries([...Map.groupBy(rows, ([file]) => file)].map(([file, own]) => [file, own.map(([, what]) => what).sort()]))
}

/** The bytes of a folder's files; checksums also say what they were made from. */
export const files = (folder: string): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).filter((name) => name !== ".checksums.json").sort().map((name) => [name, createHash("sha256").update(readFileSync(join(folder, name))).digest("hex")]))
