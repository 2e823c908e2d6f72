/**
 * Directories behind https as a store. HTTP lists nothing: what a directory holds is what its index names, and whichever of the names
 * that model directories use answers. Files are as large, and the same, as their first answer says (size and ETag).
 */
import { posix } from "node:path"
import { parseJson } from "../../document/StrictJson.ts"
import { IoError } from "../../errors.ts"
import type { Store, StoredFile, StoredInfo } from "../../store/Store.ts"
import { hasErrno } from "../../store/present.ts"
import { canonical } from "../place.ts"
import { HEAD, RangedFile, type RangedObject } from "../RangedFile.ts"
import type { Client } from "./Client.ts"
import { type Locate, type Pinned, readRange } from "./range.ts"

const INDEX = "model.safetensors.index.json"
/** Files of model directories that have one name everywhere. */
const USUAL = [
  INDEX, "model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "tokenizer.model",
  "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
  "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"
]
/** The last part of an address has an ending, or it is a directory. */
const FILE = /\.[A-Za-z0-9]{1,12}$/
const LARGEST_INDEX = 64 << 20

/** What was said of a file this many milliseconds ago still holds: a plan asks for the same one several times within a second. */
const RECENT = 2000

/** A file as it was when it was first read; small ones are kept. */
class Known implements RangedObject {
  readonly #client: Client
  readonly #path: string
  readonly #locate: Locate
  readonly #pinned: Pinned = { size: undefined, etag: undefined }
  /** Of a small file all; of others the beginning, from the look at the file until somebody reads it. */
  #content: Uint8Array | undefined
  #asked = -Infinity

  constructor(client: Client, path: string, url: URL) {
    this.#client = client
    this.#path = path
    this.#locate = async () => ({ url, headers: {} })
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
    const bytes = await readRange(this.#client, this.#path, this.#locate, this.#pinned, start, into)
    this.#asked = performance.now()
    if (start === 0 && bytes === Math.min(HEAD, this.#pinned.size!)) this.#content = into.slice(0, bytes)
    return bytes
  }

  /** Is it still the one that was read? IoError `ESTALE`, `ENOENT` … */
  async check(): Promise<void> {
    const { size } = this.#pinned
    if (size === undefined || size === 0 || performance.now() - this.#asked < RECENT) return
    await readRange(this.#client, this.#path, this.#locate, this.#pinned, 0, new Uint8Array(1))
    this.#asked = performance.now()
  }
}

export class HttpStore implements Store {
  readonly #client: Client
  readonly #objects = new Map<string, Known>()
  readonly #lists = new Map<string, Promise<ReadonlyArray<string>>>()

  constructor(client: Client) {
    this.#client = client
  }

  /** `https:/host/path` is what is left of an address that was joined. */
  #url(path: string): URL {
    const place = canonical(path)
    const address = place.replace(/^(https?):\//, "$1://").split("/").map((part, i) => (i < 3 ? part : encodeURIComponent(part))).join("/")
    if (URL.canParse(address)) return new URL(address)
    throw new IoError({ path, operation: "open", errno: "EINVAL", detail: "is no address" })
  }

  /** The same object for everybody, so that all who read it read the same. */
  #known(path: string): Known {
    const known = this.#objects.get(canonical(path)) ?? new Known(this.#client, path, this.#url(path))
    this.#objects.set(canonical(path), known)
    return known
  }

  async #isThere(path: string): Promise<boolean> {
    const url = this.#url(path)
    const answer = await this.#client.trying(() => this.#client.lanes.through(() => this.#client.follow(path, url, () => ({}), { method: "HEAD" })))
    await answer.drop()
    return answer.status === 200
  }

  async #shards(path: string): Promise<ReadonlyArray<string>> {
    const index = posix.join(path, INDEX)
    const file = await this.open(index, "read").catch((error: unknown) => {
      if (hasErrno(error, "ENOENT")) return undefined
      throw error
    })
    if (file === undefined) return []
    const { size } = await file.info()
    if (size > LARGEST_INDEX) return []
    const bytes = new Uint8Array(size)
    await file.read(bytes, 0)
    try {
      const { weight_map: map } = parseJson(bytes) as { readonly weight_map?: unknown }
      return typeof map === "object" && map !== null ? [...new Set(Object.values(map).filter((name) => typeof name === "string" && !name.includes("/")))] : []
    } catch {
      // Whoever opens it says what is wrong with it.
      return []
    }
  }

  async list(path: string): Promise<ReadonlyArray<string>> {
    if (FILE.test(path)) throw new IoError({ path, operation: "list", errno: "ENOTDIR" })
    const key = canonical(path)
    const known = this.#lists.get(key) ?? (async () => {
      const usual = await Promise.all(USUAL.map(async (name) => (await this.#isThere(posix.join(key, name)) ? [name] : [])))
      const names = usual.flat()
      return [...new Set([...names, ...(names.includes(INDEX) ? await this.#shards(key) : [])])].sort()
    })()
    this.#lists.set(key, known)
    known.catch(() => this.#lists.delete(key))
    const names = await known
    if (names.length > 0) return names
    throw new IoError({ path, operation: "list", errno: "ENOENT" })
  }

  async stat(path: string): Promise<StoredInfo> {
    if (FILE.test(path)) {
      const known = this.#known(path)
      await known.check()
      return new RangedFile(path, known).info()
    }
    const names = await this.list(path)
    return { kind: "directory", size: 0, identity: names.join("/"), stamp: names.join("/") }
  }

  lstat(path: string): Promise<StoredInfo> {
    return this.stat(path)
  }

  async realpath(path: string): Promise<string> {
    return canonical(path)
  }

  async open(path: string, _mode: "read", { direct = false }: { readonly direct?: boolean } = {}): Promise<StoredFile> {
    if (direct) throw new IoError({ path, operation: "open", errno: "EINVAL" })
    if (!FILE.test(path)) throw new IoError({ path, operation: "open", errno: "EISDIR" })
    const file = new RangedFile(path, this.#known(path))
    await file.info()
    return file
  }
}
