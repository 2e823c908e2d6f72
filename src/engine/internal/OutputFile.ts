/** A file being written in windows: created exclusively, by direct I/O where possible, synced and measured at the end. */
import { IoError } from "../../errors.ts"
import { type DiskCalls, type DiskFile, type FileInfo, writeFully } from "../../io/Disk.ts"
import type { SinkFile } from "../../store/Sink.ts"
import { type AddressRange, PAGE, roundUp } from "./Arena.ts"
import { isRefusal } from "./SourceFiles.ts"

/** Larger blocks are written by several calls beside each other. */
const LARGEST_WRITE = 4 << 20

interface Place {
  readonly disk: DiskCalls
  readonly path: string
  readonly size: number
  /** Others write to it as well. */
  readonly shared: boolean
}

export class OutputFile implements SinkFile<FileInfo> {
  readonly #disk: DiskCalls
  readonly #path: string
  readonly #size: number
  readonly #shared: boolean
  #file: DiskFile
  #direct: boolean
  /** For what is less than whole pages, beside a direct handle. */
  #buffered: Promise<DiskFile> | undefined
  /** The buffered handle that replaces a direct one which the file system turned out not to serve. */
  #replacement: Promise<void> | undefined
  /** Where the furthest of the finished writes ends. */
  #end = 0
  /** A whole page was written over the end. */
  #padded = false
  #closed = false

  private constructor({ disk, path, shared, size }: Place, file: DiskFile, direct: boolean) {
    this.#disk = disk
    this.#path = path
    this.#size = size
    this.#shared = shared
    this.#file = file
    this.#direct = direct
  }

  /** Fails with `EEXIST` if the path exists, unless it `mayExist`; then its content is kept. */
  static async create(disk: DiskCalls, path: string, size: number, direct: boolean, mayExist = false): Promise<OutputFile> {
    const file = await disk.open(path, "create").catch((error: unknown) => {
      if (mayExist && error instanceof IoError && error.errno === "EEXIST") return undefined
      throw error
    }) ?? await disk.open(path, "readwrite")
    const output = await OutputFile.#over({ disk, path, size, shared: false }, file, direct)
    // What was there may be longer.
    output.#padded = mayExist
    return output
  }

  /** One that is there, in its full size, and that others write to as well. */
  static async join(disk: DiskCalls, path: string, size: number, direct: boolean): Promise<OutputFile> {
    return OutputFile.#over({ disk, path, size, shared: true }, await disk.open(path, "readwrite"), direct)
  }

  static async #over(place: Place, file: DiskFile, direct: boolean): Promise<OutputFile> {
    if (!direct) return new OutputFile(place, file, false)
    const past = await place.disk.open(place.path, "readwrite", { direct: true }).catch((error: unknown) => {
      if (isRefusal(error)) return undefined
      return file.close().catch(() => {}).then(() => { throw error })
    })
    if (past === undefined) return new OutputFile(place, file, false)
    try {
      await file.close()
    } catch (error) {
      await past.close().catch(() => {})
      throw error
    }
    return new OutputFile(place, past, true)
  }

  get direct(): boolean {
    return this.#direct
  }

  /**
   * Write `size` bytes at `position`, a multiple of the page size. `room` is page-aligned memory that begins with them and
   * reaches to the end of their last page.
   */
  async write(room: Uint8Array, size: number, position: number): Promise<void> {
    if (size === 0) return
    await this.#requireLength()
    const calls: Array<Promise<void>> = []
    for (let at = 0; at < size; at += LARGEST_WRITE) {
      calls.push(this.#write(room.subarray(at), Math.min(LARGEST_WRITE, size - at), position + at))
    }
    for (const result of await Promise.allSettled(calls)) if (result.status === "rejected") throw result.reason
    this.#end = Math.max(this.#end, position + size)
  }

  /** The same without some ranges of the bytes, ascending: what is in the file there stays, whoever writes it and when. */
  async writeAround(room: Uint8Array, size: number, position: number, holes: ReadonlyArray<AddressRange>): Promise<void> {
    await this.#requireLength()
    const file = this.#direct ? await (this.#buffered ??= this.#disk.open(this.#path, "readwrite")) : this.#file
    let from = 0
    for (const { end, start } of [...holes, { start: size, end: size }]) {
      if (start > from) await writeFully(file, room.subarray(from, start), position + from)
      from = end
    }
  }

  async #write(room: Uint8Array, size: number, position: number): Promise<void> {
    if (this.#direct) {
      const padded = roundUp(size, PAGE)
      room.fill(0, size, padded)
      if (padded > size) this.#padded = true
      try {
        return await writeFully(this.#file, room.subarray(0, padded), position)
      } catch (error) {
        if (!isRefusal(error)) throw error
        await (this.#replacement ??= this.#replace())
      }
    }
    await writeFully(this.#file, room.subarray(0, size), position)
  }

  /**
   * Make it durable, check its size, close it. What is then found under its name is what was written. One that is shared is closed only:
   * a page over the end is for the others to cut off.
   */
  async finish(): Promise<FileInfo | undefined> {
    await this.#requireLength()
    if (this.#shared) return this.#leave()
    if (this.#padded) await this.#file.truncate(this.#size)
    await this.#file.sync()
    const written = await this.#file.info()
    if (written.size !== this.#size) throw this.#short(`${written.size} bytes instead of ${this.#size}`)
    this.#closed = true
    await this.#file.close()
    const found = await this.#disk.lstat(this.#path)
    if (found.dev !== written.dev || found.ino !== written.ino || found.size !== written.size) throw this.#short("another program changed it")
    return found
  }

  async #leave(): Promise<undefined> {
    const buffered = await this.#buffered
    await buffered?.sync()
    await this.#file.sync()
    this.#closed = true
    await buffered?.close()
    await this.#file.close()
  }

  /** Close it, finished or not; never fails. */
  async abandon(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await this.#buffered?.then((file) => file.close()).catch(() => {})
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
    return new IoError({ path: this.#path, operation: "write", errno: "ESHORT", detail })
  }

  async #replace(): Promise<void> {
    const direct = this.#file
    this.#file = await this.#disk.open(this.#path, "readwrite")
    this.#direct = false
    // Waits for the writes of other windows; they come back here if they are refused too.
    await direct.close()
  }
}
