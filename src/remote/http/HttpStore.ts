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
import { RangedFile } from "../RangedFile.ts"
import type { Client } from "./Client.ts"
import { PinnedObject } from "./PinnedObject.ts"
import { askingAt } from "./range.ts"

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

export class HttpStore implements Store {
  readonly #client: Client
  readonly #objects = new Map<string, PinnedObject>()
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
  #known(path: string): PinnedObject {
    const known = this.#objects.get(canonical(path)) ?? this.#unread(path)
    this.#objects.set(canonical(path), known)
    return known
  }

  #unread(path: string): PinnedObject {
    const url = this.#url(path)
    return new PinnedObject(this.#client, path, askingAt(this.#client, path, async () => ({ url, headers: {} })))
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
