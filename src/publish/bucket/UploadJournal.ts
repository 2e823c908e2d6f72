/**
 * What is remembered, on this machine, of uploads to a bucket: that they were begun, which parts they have, which became objects. Nothing
 * in it is trusted: the store is asked what it has, and the bytes of a part must be those that the sources give now.
 */
import { z } from "zod"
import type { UploadState } from "../../remote/s3/S3Upload.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { type Journal, readReported } from "../journal/Journal.ts"

const count = z.int().nonnegative()
const runSchema = z.object({ run: z.uuid(), target: z.string().max(4096) })
const begunSchema = z.object({ file: z.string(), size: count, partSize: z.int().positive(), id: z.string().min(1) })
const partSchema = z.object({ file: z.string(), id: z.string(), number: z.int().min(1).max(10_000), size: count, etag: z.string(), crc32: z.int().min(0).max(0xffffffff) })
const doneSchema = z.object({ file: z.string(), etag: z.string() })
const lineSchema = z.union([runSchema, partSchema, begunSchema, doneSchema])

export interface EarlierUploads {
  /** By which the objects of the run are known. */
  readonly run: string | undefined
  /** As it was said on the command line. */
  readonly target: string | undefined
  readonly files: ReadonlyMap<string, UploadState>
  /** Objects that were made, also small ones: name and tag. */
  readonly made: ReadonlyMap<string, string>
  /** Bytes of the parts. */
  readonly bytes: number
}

export const readUploads = async (disk: DiskCalls, path: string): Promise<EarlierUploads> => {
  const files = new Map<string, UploadState>()
  const made = new Map<string, string>()
  let run: string | undefined
  let target: string | undefined
  for (const value of (await readReported(disk, path)).closing) {
    const line = lineSchema.safeParse(value)
    if (!line.success) continue
    const { data } = line
    if ("run" in data) ({ run, target } = data)
    else if ("partSize" in data) files.set(data.file, { name: data.file, size: data.size, partSize: data.partSize, id: data.id, parts: new Map(), done: undefined })
    else if ("number" in data) {
      const { crc32, etag, number, size } = data
      const own = files.get(data.file)
      if (own?.id === data.id) own.parts.set(number, { number, size, etag, crc32 })
    } else {
      made.set(data.file, data.etag)
      const own = files.get(data.file)
      if (own !== undefined) own.done = data.etag
    }
  }
  let bytes = 0
  for (const { parts } of files.values()) for (const { size } of parts.values()) bytes += size
  return { run, target, files, made, bytes }
}

/** The lines of it. */
export class UploadJournal {
  readonly #journal: Journal

  constructor(journal: Journal) {
    this.#journal = journal
  }

  async run(run: string, target: string): Promise<void> {
    this.#journal.conclude({ run, target } satisfies z.infer<typeof runSchema>)
    await this.#journal.flush()
  }

  /** Durable: whoever looks for uploads to abort must find it. */
  async begun({ id, name, partSize, size }: UploadState): Promise<void> {
    this.#journal.conclude({ file: name, size, partSize, id: id! } satisfies z.infer<typeof begunSchema>)
    await this.#journal.flush()
  }

  sent({ id, name }: UploadState, { crc32, etag, number, size }: { readonly number: number; readonly size: number; readonly etag: string; readonly crc32: number }): void {
    this.#journal.conclude({ file: name, id: id!, number, size, etag, crc32 } satisfies z.infer<typeof partSchema>)
  }

  async made(file: string, etag: string): Promise<void> {
    this.#journal.conclude({ file, etag } satisfies z.infer<typeof doneSchema>)
    await this.#journal.flush()
  }
}
