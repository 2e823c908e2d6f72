/** The files that are read: opened once, a bounded number of them at a time, by direct I/O where asked and possible. */
import { IoError } from "../errors.ts"
import { type DiskCalls, type DiskFile, readFully } from "../io/Disk.ts"
import { PAGE, roundDown, roundUp } from "./Arena.ts"

/** Far below the usual limit of 1024 descriptors per process. */
const MOST_OPEN = 64

interface Handle {
  readonly file: Promise<DiskFile>
  users: number
}

export class SourceFiles {
  readonly #disk: DiskCalls
  readonly #reads: "direct" | "buffered"
  /** Least recently used first. */
  readonly #open = new Map<string, Handle>()
  /** Files whose file system takes no direct reads. */
  readonly #refused = new Set<string>()
  bytesRead = 0

  constructor(disk: DiskCalls, reads: "direct" | "buffered") {
    this.#disk = disk
    this.#reads = reads
  }

  /** Which of the files are read by direct I/O. */
  async direct(paths: ReadonlySet<string>): Promise<ReadonlySet<string>> {
    return new Set(this.#reads === "direct" ? [...paths].filter((path) => !this.#refused.has(path)) : [])
  }

  /**
   * Read the bytes [start, end) of a file to where `start` lies in `room`, which holds the whole pages around them, page-aligned.
   */
  async read(path: string, start: number, end: number, room: Uint8Array): Promise<void> {
    const first = roundDown(start, PAGE)
    if (this.#reads === "direct" && !this.#refused.has(path)) {
      if (await this.#readDirect(path, first, end, room)) return
      this.#refused.add(path)
    }
    await this.readInto(path, room.subarray(start - first, end - first), start)
  }

  /** A buffered read to anywhere. */
  async readInto(path: string, into: Uint8Array, position: number): Promise<void> {
    await this.#using(path, false, (file) => readFully(file, into, position))
    this.bytesRead += into.byteLength
  }

  async close(): Promise<void> {
    const handles = [...this.#open.values()]
    this.#open.clear()
    await Promise.all(handles.map((h) => h.file.then((file) => file.close()).catch(() => {})))
  }

  /** False if the file system refuses. */
  async #readDirect(path: string, first: number, end: number, room: Uint8Array): Promise<boolean> {
    try {
      await this.#using(path, true, async (file) => {
        const wanted = roundUp(end, PAGE) - first
        let done = await file.read(room.subarray(0, wanted), first)
        // A short read ends at the end of the file, or at some page.
        while (done < end - first && done > 0 && done % PAGE === 0) {
          const n = await file.read(room.subarray(done, wanted), first + done)
          if (n === 0) break
          done += n
        }
        if (done < end - first) await this.readInto(path, room.subarray(done, end - first), first + done)
        else this.bytesRead += done
      })
      return true
    } catch (error) {
      if (isRefusal(error)) return false
      throw error
    }
  }

  async #using(path: string, direct: boolean, use: (file: DiskFile) => Promise<void>): Promise<void> {
    const key = `${direct ? "direct" : "buffered"}:${path}`
    const handle = this.#open.get(key) ?? { file: this.#disk.open(path, "read", { direct }), users: 0 }
    this.#open.delete(key)
    this.#open.set(key, handle)
    handle.users++
    try {
      await use(await handle.file)
    } finally {
      handle.users--
      this.#evict()
    }
  }

  #evict(): void {
    for (const [key, handle] of this.#open) {
      if (this.#open.size <= MOST_OPEN) return
      if (handle.users > 0) continue
      this.#open.delete(key)
      void handle.file.then((file) => file.close()).catch(() => {})
    }
  }
}

/** The file system knows no direct I/O, or wants other alignment than ours. */
export const isRefusal = (error: unknown): boolean =>
  error instanceof IoError && (error.errno === "EINVAL" || error.errno === "EOPNOTSUPP" || error.errno === "ENOTSUP")
