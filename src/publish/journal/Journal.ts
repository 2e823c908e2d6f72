/**
 * The journal of a conversion: what it is made from, then a line for every window that is written. Appended to while the work
 * goes on, read when it is resumed. Nothing in it is trusted: a line carries a checksum of itself (a crash may tear it), and a
 * window that it names is read again and compared before it counts. So the order in which journal and data reach the disk does
 * not matter.
 */
import { dirname, join } from "node:path"
import { z } from "zod"
import { atPath, decodeWith } from "../../document/decode.ts"
import { parseJson } from "../../document/StrictJson.ts"
import type { OpenSeal, ResumeRecord, WindowRecord, WrittenWindow } from "../../engine/index.ts"
import { InvalidFile } from "../../errors.ts"
import { type DiskCalls, type DiskFile, writeFully } from "../../io/Disk.ts"
import { LARGEST_TRANSFER } from "../../store/Store.ts"
import { isMissing } from "../../store/present.ts"
import { readSmall } from "../../store/readSmall.ts"
import { crc32 } from "../../torch/Crc32.ts"
import { isJournal, JOURNAL } from "../staging/names.ts"
import { changesBetween, type Fingerprint, fingerprintSchema } from "./Fingerprint.ts"

/** A line of 80 bytes for every 64 KiB, the smallest window, of half a terabyte. */
const LARGEST_JOURNAL = 700_000_000
/** A window holds as many arrays as it has bytes at most; real lines have tens of bytes. */
const LONGEST_LINE = 16 << 20
/** Lines are written together when so much time has passed, and made durable more rarely: losing some costs only work. */
const WRITE_MS = 500
const SYNC_MS = 5000

const headerSchema = z.object({ journal: z.literal(1), block: z.int().positive(), job: fingerprintSchema })
type JournalHeader = z.infer<typeof headerSchema>

const count = z.int().nonnegative()
const crc = z.int().min(0).max(0xffffffff)
const window = [z.string(), count, z.int().min(0).max(LARGEST_TRANSFER), crc, z.array(count)] as const
const windowSchema = z.tuple(window)
/** What the process that publishes has to know of the windows of others: position in the window, length and CRC-32 of its sums; open seals. */
const sums = z.array(z.tuple([count, count, crc]))
const open = z.array(z.tuple([count, count, count, count, count, count]))
const reportedSchema = z.tuple([...window, z.union([z.literal(0), z.literal(1)]), sums, open])
/** Other facts that it has to know, once all windows are written. */
const closingSchema = z.object({ closing: z.unknown() })

const line = (value: unknown): string => {
  const text = JSON.stringify(value)
  return `${crc32(text).toString(16).padStart(8, "0")} ${text}\n`
}

/** Lines that are whole, parsed. */
const lines = function*(bytes: Uint8Array, path: string): Generator<unknown> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let start = 0; start < text.byteLength;) {
    const newline = text.indexOf(0x0a, start)
    const end = newline < 0 ? text.byteLength : newline
    const own = text.subarray(start, end)
    start = end + 1
    if (own.byteLength < 10 || own.byteLength > LONGEST_LINE) continue
    if (own.toString("latin1", 0, 9) !== `${crc32(own.subarray(9)).toString(16).padStart(8, "0")} `) continue
    yield atPath(path, () => parseJson(own.subarray(9)))
  }
}

/** What a journal says. */
export interface EarlierWork extends ResumeRecord {
  readonly job: Fingerprint
  readonly block: number
  /** Bytes of the windows. */
  readonly bytes: number
}

/** The header and the lines after it; undefined if there is no journal, or not even its beginning was written. */
const opened = async (disk: DiskCalls, path: string): Promise<{ readonly header: JournalHeader; readonly rest: Iterable<unknown> } | undefined> => {
  let bytes: Uint8Array
  try {
    bytes = await readSmall(disk, path, path, LARGEST_JOURNAL)
  } catch (error) {
    if (isMissing(error) || error instanceof InvalidFile) return undefined
    throw error
  }
  const all = lines(bytes, path)
  const first = all.next()
  if (first.done) return undefined
  try {
    return { header: decodeWith(headerSchema, path, first.value), rest: all }
  } catch (error) {
    // Of a version that wrote other journals, or the second line of a torn one.
    if (error instanceof InvalidFile) return undefined
    throw error
  }
}

/** Read a journal, and those of other processes beside it; undefined if there is none, or not even its beginning was written. */
export const readJournal = async (disk: DiskCalls, path: string): Promise<EarlierWork | undefined> => {
  const own = await opened(disk, path)
  if (!own) return undefined
  const { header } = own
  const all = [own.rest]
  const folder = dirname(path)
  for (const name of (await disk.list(folder)).filter((n) => n !== JOURNAL && isJournal(n)).sort()) {
    const other = await opened(disk, join(folder, name))
    if (other?.header.block === header.block && changesBetween(other.header.job, header.job).length === 0) all.push(other.rest)
  }
  const windows = new Map<string, Map<number, WindowRecord>>()
  for (const value of all.flatMap((lists) => [...lists])) {
    const reported = reportedSchema.safeParse(value)
    const found = reported.success ? reported : windowSchema.safeParse(value)
    // Of a window with open seals nobody knew the sum.
    if (!found.success || (reported.success && reported.data[7].length > 0)) continue
    const [file, position, size, crc, changed] = found.data
    const own = windows.get(file) ?? new Map<number, WindowRecord>()
    windows.set(file, own)
    own.set(position, { position, size, crc32: crc, changed })
  }
  let total = 0
  for (const own of windows.values()) for (const { size } of own.values()) total += size
  return {
    job: header.job,
    block: header.block,
    bytes: total,
    began: (file) => windows.has(file),
    find: (file, position) => windows.get(file)?.get(position)
  }
}

/** What another process of this run says of its windows, and at its end. */
export interface Reported {
  readonly windows: ReadonlyArray<readonly [file: string, window: WrittenWindow]>
  readonly closing: ReadonlyArray<unknown>
}

/** Read what another process has reported up to its last {@link Journal.flush}. InvalidFile `journal/damaged` if a line is not as it was written. */
export const readReported = async (disk: DiskCalls, path: string): Promise<Reported> => {
  const own = await opened(disk, path)
  const windows: Array<readonly [string, WrittenWindow]> = []
  const closing: Array<unknown> = []
  for (const value of own?.rest ?? []) {
    const reported = reportedSchema.safeParse(value)
    if (reported.success) {
      const [file, position, size, crc32, changed, found, parts, seals] = reported.data
      windows.push([file, {
        position,
        size,
        crc32,
        changed,
        found: found === 1,
        sums: parts.map(([at, length, sum]) => ({ position: position + at, length, crc32: sum })),
        open: seals.map(([segment, start, end, from, to, at]) => ({ segment, array: { start, end }, from, to, position: position + at } satisfies OpenSeal))
      }])
    } else {
      const end = closingSchema.safeParse(value)
      if (end.success) closing.push(end.data.closing)
    }
  }
  return { windows, closing }
}

/** A journal being written. */
export class Journal {
  readonly #file: DiskFile
  #position: number
  #pending = ""
  #wrote = performance.now()
  #synced = performance.now()
  #writing: Promise<void> = Promise.resolve()
  #failure: unknown
  #closed = false

  private constructor(file: DiskFile, position: number) {
    this.#file = file
    this.#position = position
  }

  static async create(disk: DiskCalls, path: string, job: Fingerprint, block: number): Promise<Journal> {
    const file = await disk.open(path, "create")
    const journal = new Journal(file, 0)
    try {
      journal.#pending = line({ journal: 1, block, job } satisfies JournalHeader)
      await journal.#write()
      await file.sync()
      await disk.syncDirectory(dirname(path))
      return journal
    } catch (error) {
      await file.close().catch(() => {})
      throw error
    }
  }

  /** Go on with a journal that was read. */
  static async append(disk: DiskCalls, path: string): Promise<Journal> {
    const file = await disk.open(path, "readwrite")
    try {
      const journal = new Journal(file, (await file.info()).size)
      // Ends a torn line.
      journal.#pending = "\n"
      return journal
    } catch (error) {
      await file.close().catch(() => {})
      throw error
    }
  }

  /** Record a window that is written. Throws if an earlier line could not be written. */
  add(file: string, { changed, crc32, position, size }: WindowRecord): void {
    this.#add([file, position, size, crc32, changed])
  }

  /** The same for {@link readReported}. */
  report(file: string, { changed, crc32, found, open, position, size, sums }: WrittenWindow): void {
    this.#add([file, position, size, crc32, [...changed], found ? 1 : 0,
      sums.map((sum) => [sum.position - position, sum.length, sum.crc32]),
      open.map((seal) => [seal.segment, seal.array.start, seal.array.end, seal.from, seal.to, seal.position - position])
    ] satisfies z.infer<typeof reportedSchema>)
  }

  /** Another fact for {@link readReported}: plain data. */
  conclude(closing: unknown): void {
    this.#add({ closing })
  }

  #add(value: unknown): void {
    if (this.#failure !== undefined) throw this.#failure
    this.#pending += line(value)
    const now = performance.now()
    if (now - this.#wrote < WRITE_MS) return
    this.#wrote = now
    this.#writing = this.#writing.then(() => this.#write()).catch((error: unknown) => { this.#failure ??= error })
  }

  async #write(): Promise<void> {
    if (this.#failure !== undefined || this.#pending === "") return
    const bytes = Buffer.from(this.#pending)
    this.#pending = ""
    await writeFully(this.#file, bytes, this.#position)
    this.#position += bytes.byteLength
    if (performance.now() - this.#synced < SYNC_MS) return
    this.#synced = performance.now()
    await this.#file.sync()
  }

  /** Everything so far is durable, and what others read, also on another host. */
  async flush(): Promise<void> {
    await (this.#writing = this.#writing.then(() => this.#write()))
    if (this.#failure !== undefined) throw this.#failure
    await this.#file.sync()
  }

  /** Write what is pending and close it, even if that fails. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    try {
      await this.#writing
      await this.#write()
    } finally {
      await this.#file.close()
    }
  }
}
