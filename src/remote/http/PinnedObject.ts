/** A file that is as large, and the same, as its first answer says (size and ETag): for stores that name no content by its sum. */
import type { StoredInfo } from "../../store/Store.ts"
import { HEAD, type RangedObject } from "../RangedFile.ts"
import type { Client } from "./Client.ts"
import { type Ask, type Pinned, readRange } from "./range.ts"

/** What was said of a file this many milliseconds ago still holds: a plan asks for the same one several times within a second. */
const RECENT = 2000

/** A file as it was when it was first read; small ones are kept. */
export class PinnedObject implements RangedObject {
  readonly #client: Client
  readonly #path: string
  readonly #ask: Ask
  readonly #pinned: Pinned
  /** Of a small file all; of others the beginning, from the look at the file until somebody reads it. */
  #content: Uint8Array | undefined
  #asked = -Infinity

  /** `known`: what a list says of it. */
  constructor(client: Client, path: string, ask: Ask, known: Pinned = { size: undefined, etag: undefined }) {
    this.#pinned = { ...known }
    this.#client = client
    this.#path = path
    this.#ask = ask
  }

  /** The tag (ETag) that the first answer had. */
  get etag(): string | undefined {
    return this.#pinned.etag
  }

  info(): StoredInfo | undefined {
    const { etag, size } = this.#pinned
    if (size === undefined) return undefined
    const identity = `${size} bytes, ${etag ?? "without a tag"}`
    return { kind: "file", size, identity, stamp: identity }
  }

  async read(start: number, into: Uint8Array): Promise<number> {
    const kept = this.#content
    const end = Math.min(start + into.byteLength, this.#pinned.size ?? Infinity)
    if (kept !== undefined && end <= kept.byteLength) {
      if (kept.byteLength < this.#pinned.size!) this.#content = undefined
      into.set(kept.subarray(start, end))
      return end - start
    }
    const bytes = await readRange(this.#client, this.#path, this.#ask, this.#pinned, start, into)
    this.#asked = performance.now()
    if (start === 0 && bytes === Math.min(HEAD, this.#pinned.size!)) this.#content = into.slice(0, bytes)
    return bytes
  }

  /** Is it still the one that was read? IoError `ESTALE`, `ENOENT` … */
  async check(): Promise<void> {
    const { size } = this.#pinned
    if (size === undefined || size === 0 || performance.now() - this.#asked < RECENT) return
    await readRange(this.#client, this.#path, this.#ask, this.#pinned, 0, new Uint8Array(1))
    this.#asked = performance.now()
  }
}
