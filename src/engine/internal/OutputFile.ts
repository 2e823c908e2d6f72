/** A file being written in windows: created exclusively, by direct I/O where asked and possible, synced and measured at the end. */
import { IoError } from "../../errors.ts"
import { type DiskCalls, type DiskFile, type FileInfo, writeFully } from "../../io/Disk.ts"
import type { SinkFile } from "../../store/Sink.ts"
import { type AddressRange, PAGE, roundUp } from "./Arena.ts"
import { isRefusal } from "./SourceFiles.ts"

/** Larger blocks are written by several calls: beside each other past the page cache, otherwise one after the other. */
const LARGEST_WRITE = 4 << 20

interface Place {
  readonly disk: DiskCalls
  readonly path: string
  readonly size: number
  /** Others write to it as well. */
  readonly shared: boolean
}

export class OutputFile implements SinkFile<FileInfo> {
  readonly #place: Place
  readonly #file: DiskFile
  /** The same file past the page cache; undefined if the file system refuses. Opened by the first write that asks for it. */
  #direct: Promise<DiskFile | undefined> | undefined
  /** Where the furthest of the finished writes ends. */
  #end = 0
  /** A whole page was written over the end. */
  #padded: boolean
  #closed = false
  /** The last buffered write ends; never rejects. */
  #buffered: Promise<void> = Promise.resolve()

  private constructor(place: Place, file: DiskFile, mayBeLonger: boolean) {
    this.#place = place
    this.#file = file
    this.#padded = mayBeLonger
  }

  /** Fails with `EEXIST` if the path exists, unless it `mayExist`; then its content is kept. */
  static async create(disk: DiskCalls, path: string, size: number, mayExist = false): Promise<OutputFile> {
    const file = await disk.open(path, "create").catch((error: unknown) => {
      if (mayExist && error instanceof IoError && error.errno === "EEXIST") return undefined
      throw error
    }) ?? await disk.open(path, "readwrite")
    return new OutputFile({ disk, path, size, shared: false }, file, mayExist)
  }

  /** One that is there, in its full size, and that others write to as well. */
  static async join(disk: DiskCalls, path: string, size: number): Promise<OutputFile> {
    return new OutputFile({ disk, path, size, shared: true }, await disk.open(path, "readwrite"), false)
  }

  /**
   * Write `size` bytes at `position`, a multiple of the page size. `room` is page-aligned memory that begins with them and
   * reaches to the end of their last page. Pages that lie apart may be written either way, at any time: the kernel keeps both in step.
   */
  async write(room: Uint8Array, size: number, position: number, direct: boolean): Promise<boolean> {
    if (size === 0) return false
    await this.#requireLength()
    const isDirect = direct && await this.#writeDirect(room, size, position)
    if (!isDirect) await this.#writeBuffered(room, size, position)
    this.#end = Math.max(this.#end, position + size)
    return isDirect
  }

  /** The same without some ranges of the bytes, ascending: what is in the file there stays, whoever writes it and when. */
  async writeAround(room: Uint8Array, size: number, position: number, holes: ReadonlyArray<AddressRange>): Promise<void> {
    await this.#requireLength()
    let from = 0
    for (const { end, start } of [...holes, { start: size, end: size }]) {
      if (start > from) await writeFully(this.#file, room.subarray(from, start), position + from)
      from = end
    }
  }

  /** One call after the other: a kernel lets only one at a time into a file, and those that wait for it burn what they wait. */
  #writeBuffered(room: Uint8Array, size: number, position: number): Promise<void> {
    const write = async (): Promise<void> => {
      for (let at = 0; at < size; at += LARGEST_WRITE) {
        await writeFully(this.#file, room.subarray(at, Math.min(size, at + LARGEST_WRITE)), position + at)
      }
    }
    const written = this.#buffered.then(write)
    this.#buffered = written.catch(() => {})
    return written
  }

  /** False if the file system refuses. */
  async #writeDirect(room: Uint8Array, size: number, position: number): Promise<boolean> {
    const file = await (this.#direct ??= this.#openDirect())
    if (file === undefined) return false
    const padded = roundUp(size, PAGE)
    room.fill(0, size, padded)
    if (position + padded > this.#place.size) this.#padded = true
    const calls: Array<Promise<void>> = []
    for (let at = 0; at < padded; at += LARGEST_WRITE) {
      calls.push(writeFully(file, room.subarray(at, Math.min(padded, at + LARGEST_WRITE)), position + at))
    }
    const failures = (await Promise.allSettled(calls)).filter((result) => result.status === "rejected").map(({ reason }) => reason as unknown)
    const failure = failures.find((error) => !isRefusal(error)) ?? failures[0]
    if (failure === undefined) return true
    if (!isRefusal(failure)) throw failure
    this.#direct = Promise.resolve(undefined)
    // Waits for the writes of other windows, which come here as well if they are refused.
    await file.close()
    return false
  }

  #openDirect(): Promise<DiskFile | undefined> {
    return this.#place.disk.open(this.#place.path, "readwrite", { direct: true }).catch((error: unknown) => {
      if (isRefusal(error)) return undefined
      throw error
    })
  }

  async sync(): Promise<void> {
    await this.#file.sync()
  }

  /**
   * Make it durable, check its size, close it. What is then found under its name is what was written. One that is shared is synced and
   * closed only: a page over the end is for the others to cut off.
   */
  async finish(): Promise<FileInfo | undefined> {
    const { disk, path, shared, size } = this.#place
    await this.#requireLength()
    if (this.#padded && !shared) await this.#file.truncate(size)
    await this.#file.sync()
    const written = await this.#file.info()
    if (!shared && written.size !== size) throw this.#short(`${written.size} bytes instead of ${size}`)
    this.#closed = true
    try {
      await (await this.#direct)?.close()
    } finally {
      await this.#file.close()
    }
    if (shared) return undefined
    const found = await disk.lstat(path)
    if (found.dev !== written.dev || found.ino !== written.ino || found.size !== written.size) throw this.#short("another program changed it")
    return found
  }

  /** Close it, finished or not; never fails. */
  async abandon(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#direct?.then((file) => file?.close()).catch(() => {})
    await this.#file.close().catch(() => {})
  }

  /** Writes never make a file shorter: if it is, what came before the end of a later write would be zeros. */
  async #requireLength(): Promise<void> {
    // Writes that end meanwhile make it longer than this.
    const end = this.#end
    const { size } = await this.#file.info()
    if (size < end) throw this.#short(`another program cut it at byte ${size} while it was written`)
  }

  #short(detail: string): IoError {
    return new IoError({ path: this.#place.path, operation: "write", errno: "ESHORT", detail })
  }
}
