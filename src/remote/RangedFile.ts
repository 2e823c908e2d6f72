/** An object that is read by ranges, as a file of a store: its beginning comes with the first request, long reads in several. */
import type { StoredFile, StoredInfo } from "../store/Store.ts"

/** A reader of one object. `read` fills `into`, or as much as there is where the size is not known before. */
export interface RangedObject {
  readonly read: (start: number, into: Uint8Array) => Promise<number>
  /** What it is; known with the first answer at the latest. */
  readonly info: () => StoredInfo | undefined
}

/** Most headers of weights files are shorter: size, tag and header in one request. */
export const HEAD = 256 << 10
/** Longer reads are several requests beside each other. */
const PART = 8 << 20

export class RangedFile implements StoredFile {
  readonly path: string
  readonly remote = true
  readonly #object: RangedObject
  #head: Promise<Uint8Array> | undefined

  constructor(path: string, object: RangedObject) {
    this.path = path
    this.#object = object
  }

  async info(): Promise<StoredInfo> {
    if (this.#object.info() === undefined) await this.#beginning()
    return this.#object.info()!
  }

  #beginning(): Promise<Uint8Array> {
    return this.#head ??= (async () => {
      const size = this.#object.info()?.size
      const head = new Uint8Array(Math.min(HEAD, size ?? HEAD))
      return head.byteLength === 0 ? head : head.subarray(0, await this.#object.read(0, head))
    })()
  }

  async read(into: Uint8Array, position: number): Promise<number> {
    const { size } = await this.info()
    const length = Math.min(into.byteLength, size - position)
    if (length <= 0) return 0
    if (position + length <= HEAD || (this.#head !== undefined && position < HEAD)) {
      // A file is read from its beginning first, mostly in two steps: its length field, then its header.
      const head = await this.#beginning()
      const part = head.subarray(position, position + length)
      into.set(part)
      return part.byteLength
    }
    const parts: Array<Promise<number>> = []
    for (let at = 0; at < length; at += PART) parts.push(this.#object.read(position + at, into.subarray(at, Math.min(length, at + PART))))
    // All of them end before the memory is somebody else's again.
    const ended = await Promise.allSettled(parts)
    for (const part of ended) if (part.status === "rejected") throw part.reason
    return length
  }

  async close(): Promise<void> {
    this.#head = undefined
  }
}
