/** Looks at the free space while files are written, so that a disk that others fill ends the work early and in good order. */
import { NoSpace } from "../../errors.ts"
import type { DiskCalls } from "../../io/Disk.ts"

/** Between two looks. */
const EVERY_BYTES = 256 << 20
const EVERY_MS = 2000

export class SpaceWatch {
  readonly #disk: DiskCalls
  readonly #path: string
  #left: number
  #unwatched = 0
  #looked = performance.now()
  #looking: Promise<void> | undefined
  #failure: NoSpace | undefined

  /** `path`: a directory on the file system; `size`: bytes that are going to be written. */
  constructor(disk: DiskCalls, path: string, size: number) {
    this.#disk = disk
    this.#path = path
    this.#left = size
  }

  /** So many bytes more are there. Throws NoSpace if the last look found too little room for the rest. */
  wrote(bytes: number): void {
    if (this.#failure) throw this.#failure
    this.#left -= bytes
    this.#unwatched += bytes
    if (this.#looking || (this.#unwatched < EVERY_BYTES && performance.now() - this.#looked < EVERY_MS)) return
    this.#looking = this.#look()
  }

  /** Wait for a look under way. */
  async close(): Promise<void> {
    await this.#looking
  }

  async #look(): Promise<void> {
    const needed = Math.max(0, this.#left)
    const free = await this.#disk.freeSpace(this.#path).catch(() => Number.POSITIVE_INFINITY)
    // What was written since is counted on neither side.
    if (free + this.#unwatched < needed) this.#failure = new NoSpace({ path: this.#path, needed, free })
    this.#unwatched = 0
    this.#looked = performance.now()
    this.#looking = undefined
  }
}
