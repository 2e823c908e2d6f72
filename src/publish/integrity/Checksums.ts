/**
 * The checksums that are written with a checkpoint: CRC-32 of every file, of every block of it, and of every tensor (of every
 * stored chunk, in a Megatron checkpoint). They depend on the content alone, so two runs write the same. CRC-32 costs next to
 * nothing beside reading and writing, finds every flipped bit, and tells which one it was (flippedBit.ts); it is no defence
 * against somebody who changes a file on purpose.
 *
 * ```json
 * {"crc32":"<of the rest>","checksums":{"version":1,"block":1048576,"source":"<digest>",
 *   "files":[{"name":"__0_0.distcp","size":123,"crc32":"…","blocks":"<8 hexadecimal digits per block>"}],
 *   "tensors":[{"name":"…","file":"__0_0.distcp","begin":64,"end":96,"crc32":"…"}],
 *   "parent":[…]}}
 * ```
 */
import { join } from "node:path"
import { z } from "zod"
import { atPath, decodeWith } from "../../document/decode.ts"
import { parseJson } from "../../document/StrictJson.ts"
import { lengthOf, type RangeSum, SUM_BLOCK, sumsOf, type TargetFile } from "../../engine/index.ts"
import { FormatError } from "../../errors.ts"
import type { Store } from "../../store/Store.ts"
import { present } from "../../store/present.ts"
import { readSmall } from "../../store/readSmall.ts"
import { crc32, crc32Combine } from "../../torch/Crc32.ts"
import { CHECKSUMS } from "./names.ts"
import { SumList } from "./SumList.ts"

/** Some hundred bytes per stored chunk, eight per MiB: a terabyte in ten thousand chunks has 9 MB. */
export const LARGEST_CHECKSUMS = 256 << 20
const LIMITS = { maxBytes: LARGEST_CHECKSUMS, maxValues: 20_000_000 }

const hex = z.string().regex(/^[0-9a-f]{8}$/)
const count = z.int().nonnegative()
/** Relative, without a way out. */
const name = z.string().min(1).max(4096).refine((n) => !n.startsWith("/") && !n.includes("\0") && n.split("/").every((p) => p !== "" && p !== "." && p !== ".."), "leaves its directory")
const fileSchema = z.object({ name, size: count, crc32: hex, blocks: z.string().regex(/^([0-9a-f]{8})*$/) })
const checksumsSchema = z.object({
  version: z.literal(1),
  block: z.int().min(4096).max(1 << 28),
  /** Digest of what the checkpoint was made from; equal jobs on equal content have equal ones. */
  source: z.string().max(128),
  files: z.array(fileSchema),
  tensors: z.array(z.object({ name: z.string(), file: name, begin: count, end: count, crc32: hex })),
  /** Trackers beside the folder, as long as they name it. */
  parent: z.array(fileSchema)
})
export type Checksums = z.infer<typeof checksumsSchema>
export type FileChecksums = z.infer<typeof fileSchema>
export type TensorChecksums = Checksums["tensors"][number]

export const hexOf = (crc: number): string => crc.toString(16).padStart(8, "0")

/** `sums` in the order of their positions, from 0 on and without gaps. */
const fileOf = (name: string, sums: Iterable<RangeSum>): FileChecksums => {
  const blocks: Array<number> = []
  let size = 0
  let crc = 0
  for (const sum of sums) {
    const block = Math.floor(sum.position / SUM_BLOCK)
    blocks[block] = crc32Combine(blocks[block] ?? 0, sum.crc32, sum.length)
    crc = crc32Combine(crc, sum.crc32, sum.length)
    size += sum.length
  }
  return { name, size, crc32: hexOf(crc), blocks: blocks.map(hexOf).join("") }
}

/** Collects the checksums of files while they are written. */
export class ChecksumsBuilder {
  readonly #sums = new Map<string, SumList>()
  readonly #small: Array<FileChecksums> = []
  readonly #parent: Array<FileChecksums> = []
  readonly #skipped = new Set<string>()
  readonly #carried = new Map<string, { readonly file: FileChecksums; readonly tensors: ReadonlyArray<TensorChecksums> }>()

  /** Ranges of a file of the plan, in any order. */
  add(file: string, sums: ReadonlyArray<RangeSum>): void {
    let own = this.#sums.get(file)
    if (own === undefined) this.#sums.set(file, own = new SumList())
    for (const sum of sums) own.add(sum)
  }

  crcOf(file: string, start: number, end: number): number {
    return this.#sums.get(file)?.crcOf(start, end) ?? 0
  }

  /** Bytes summed of a file. */
  size(file: string): number {
    return this.#sums.get(file)?.bytes ?? 0
  }

  /** A file written whole. */
  small(file: string, bytes: Uint8Array): void {
    this.#small.push(fileOf(file, sumsOf(bytes, 0)))
  }

  /** A file that is as it was in a checkpoint with checksums: these. */
  carry(file: FileChecksums, tensors: ReadonlyArray<TensorChecksums>): void {
    this.#carried.set(file.name, { file, tensors })
  }

  /** A file of the plan that was not written, and has no checksums. */
  skip(file: string): void {
    this.#skipped.add(file)
  }

  /** A file beside the folder. */
  beside(file: string, bytes: Uint8Array): void {
    this.#parent.push(fileOf(file, sumsOf(bytes, 0)))
  }

  /** Those of the plan that this run writes. */
  written(files: ReadonlyArray<TargetFile>): ReadonlyArray<TargetFile> {
    return files.filter((f) => !this.#carried.has(f.name) && !this.#skipped.has(f.name))
  }

  /** Of the files of the plan that this run has written. */
  checksumsOf(files: ReadonlyArray<TargetFile>): ReadonlyMap<string, FileChecksums> {
    return new Map(this.written(files).map(({ name: file }) => [file, fileOf(file, this.#sums.get(file) ?? [])]))
  }

  /** The document. `files`: the plan; every byte of each was added, unless the file is carried or skipped. */
  encode(files: ReadonlyArray<TargetFile>, source: string): Uint8Array {
    const tensors: Array<TensorChecksums> = []
    for (const own of this.#carried.values()) tensors.push(...own.tensors)
    const payload = this.written(files).map(({ name: file, segments }) => {
      const sums = this.#sums.get(file) ?? new SumList()
      let at = 0
      let next = 0
      for (const segment of segments) {
        const begin = at
        at += lengthOf(segment)
        const first = next
        while (next < sums.size && sums.position(next) < at) next++
        if (segment.kind === "array") tensors.push({ name: segment.array.id, file, begin, end: at, crc32: hexOf(sums.joined(first, next)) })
      }
      return fileOf(file, sums)
    })
    const document: Checksums = { version: 1, block: SUM_BLOCK, source, files: [...[...this.#carried.values()].map((c) => c.file), ...payload, ...this.#small], tensors, parent: this.#parent }
    const text = JSON.stringify(document)
    return Buffer.from(`{"crc32":"${hexOf(crc32(text))}","checksums":${text}}\n`)
  }
}

/** Those of a directory; undefined if it has none. @throws as {@link decodeChecksums}; IoError */
export const checksumsIn = async (store: Store, directory: string): Promise<Checksums | undefined> => {
  const path = join(directory, CHECKSUMS)
  return (await present(store, path)) === undefined ? undefined : decodeChecksums(path, await readSmall(store, path, path, LARGEST_CHECKSUMS))
}

const FRAME = /^\{"crc32":"([0-9a-f]{8})","checksums":$/

/**
 * @throws InvalidFile `integrity/damaged` if the document is not as it was written, `json/…`, `document/shape`.
 */
export const decodeChecksums = (path: string, bytes: Uint8Array): Checksums => {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const start = text.indexOf("{", 1)
  const body = text.subarray(start, -2)
  return atPath(path, () => {
    const own = FRAME.exec(text.toString("latin1", 0, Math.min(start, 64)))?.[1]
    if (start < 0 || own !== hexOf(crc32(body)) || text.toString("latin1", text.byteLength - 2) !== "}\n") {
      throw new FormatError("integrity/damaged", "the checksums themselves are damaged: their own checksum differs", { offset: Math.max(start, 0) })
    }
    return decodeWith(checksumsSchema, path, parseJson(body, LIMITS), body)
  })
}
