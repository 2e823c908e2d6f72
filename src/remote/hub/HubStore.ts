/** Repositories of the Hub as a store: paths `hf:/Org/Name@revision/…`, pinned to the commit that the revision was when it was first read. */
import { createHash } from "node:crypto"
import { IoError } from "../../errors.ts"
import type { Store, StoredFile, StoredInfo } from "../../store/Store.ts"
import type { Client } from "../http/Client.ts"
import { askingAt, type Pinned, readRange } from "../http/range.ts"
import { COMMIT_HASH, hubPath, hubPlace, type HubPlace } from "../place.ts"
import { RangedFile, type RangedObject } from "../RangedFile.ts"
import type { HubCache } from "./HubCache.ts"
import type { HubClient, HubEntry } from "./HubClient.ts"

interface Repository {
  readonly commit: string
  readonly entries: ReadonlyMap<string, HubEntry>
}

/** Text files are kept: they are read several times. */
const LARGEST_KEPT = 64 << 20
/** Larger files outside LFS do not exist on the Hub (10 MB). */
const LARGEST_TEXT = 64 << 20

const missing = (path: string, operation: string): never => { throw new IoError({ path, operation, errno: "ENOENT" }) }

export class HubStore implements Store {
  readonly #client: Client
  readonly #hub: HubClient
  readonly #cache: HubCache
  readonly #repositories = new Map<string, Promise<Repository>>()
  readonly #texts = new Map<string, Promise<Uint8Array>>()
  #kept = 0

  constructor(client: Client, hub: HubClient, cache: HubCache) {
    this.#client = client
    this.#hub = hub
    this.#cache = cache
  }

  /** The place with the commit in place of its revision, and what the repository has. */
  async #opened(path: string): Promise<{ readonly place: HubPlace; readonly entries: ReadonlyMap<string, HubEntry> }> {
    const place = hubPlace(path)
    if (place === undefined) {
      throw new IoError({ path, operation: "open", code: "place/hub", errno: "EINVAL", detail: "is no place of the Hub", hint: "hf://Org/Name[@revision][/path] is." })
    }
    const root = hubPath({ ...place, path: "" })
    const known = this.#repositories.get(root) ?? this.#load({ ...place, path: "" })
    this.#repositories.set(root, known)
    known.catch(() => this.#repositories.delete(root))
    const { commit, entries } = await known
    return { place: { ...place, revision: commit }, entries }
  }

  async #load(place: HubPlace): Promise<Repository> {
    const commit = await this.commitOf(place)
    return { commit, entries: await this.#hub.entries({ ...place, revision: commit }) }
  }

  /** The commit that a revision is; of a name the Hub is asked, and the cache told. */
  async commitOf(place: HubPlace): Promise<string> {
    if (COMMIT_HASH.test(place.revision)) return place.revision
    const commit = await this.#hub.commitOf(place)
    await this.#cache.note(place.repository, place.revision, commit)
    return commit
  }

  async list(path: string): Promise<ReadonlyArray<string>> {
    const { entries, place } = await this.#opened(path)
    if (entries.has(place.path)) throw new IoError({ path, operation: "list", errno: "ENOTDIR" })
    const prefix = place.path === "" ? "" : `${place.path}/`
    const names = new Set<string>()
    for (const name of entries.keys()) if (name.startsWith(prefix)) names.add(name.slice(prefix.length).split("/")[0]!)
    return names.size === 0 ? missing(path, "list") : [...names].sort()
  }

  async stat(path: string): Promise<StoredInfo> {
    const { entries, place } = await this.#opened(path)
    const entry = entries.get(place.path)
    if (entry) return infoOf(entry)
    const prefix = place.path === "" ? "" : `${place.path}/`
    const isFolder = entries.keys().some((name) => name.startsWith(prefix))
    return isFolder ? { kind: "directory", size: 0, identity: place.revision, stamp: place.revision } : missing(path, "stat")
  }

  lstat(path: string): Promise<StoredInfo> {
    return this.stat(path)
  }

  async realpath(path: string): Promise<string> {
    await this.stat(path)
    return hubPath((await this.#opened(path)).place)
  }

  async open(path: string, _mode: "read", { direct = false }: { readonly direct?: boolean } = {}): Promise<StoredFile> {
    if (direct) throw new IoError({ path, operation: "open", errno: "EINVAL" })
    const { entries, place } = await this.#opened(path)
    const entry = entries.get(place.path)
    if (entry === undefined) {
      await this.stat(path)
      throw new IoError({ path, operation: "open", errno: "EISDIR" })
    }
    const info = infoOf(entry)
    const cached = await this.#cache.open(place, entry, () => this.#object(hubPath(place), place, entry, info))
    if (cached) return { path, info: async () => info, read: cached.read, close: cached.close }
    return new RangedFile(path, entry.sha256 === undefined && entry.size <= LARGEST_TEXT ? this.#text(path, place, entry, info) : this.#object(path, place, entry, info))
  }

  #object(path: string, place: HubPlace, entry: HubEntry, info: StoredInfo): RangedObject {
    const ask = askingAt(this.#client, path, this.#hub.locating(place, entry))
    const pinned: Pinned = { size: entry.size, etag: undefined }
    return { info: () => info, read: (start, into) => readRange(this.#client, path, ask, pinned, start, into) }
  }

  /** A small file comes whole and is held against git's sum of it. */
  #text(path: string, place: HubPlace, entry: HubEntry, info: StoredInfo): RangedObject {
    const load = (): Promise<Uint8Array> => {
      const known = this.#texts.get(entry.blob)
      if (known) return known
      const loading = this.#whole(path, place, entry)
      if (this.#kept + entry.size > LARGEST_KEPT) return loading
      this.#kept += entry.size
      this.#texts.set(entry.blob, loading)
      loading.catch(() => {
        this.#texts.delete(entry.blob)
        this.#kept -= entry.size
      })
      return loading
    }
    return {
      info: () => info,
      read: async (start, into) => {
        const part = (await load()).subarray(start, start + into.byteLength)
        into.set(part)
        return part.byteLength
      }
    }
  }

  async #whole(path: string, place: HubPlace, entry: HubEntry): Promise<Uint8Array> {
    const bytes = await this.#hub.text(place, entry)
    const blob = createHash("sha1").update(`blob ${bytes.byteLength}\0`).update(bytes).digest("hex")
    if (bytes.byteLength === entry.size && blob === entry.blob) return bytes
    throw new IoError({ path, operation: "read", code: "hub/content", errno: "EPROTO", detail: "what the Hub sends is not the content that it lists" })
  }
}

/** Content is named by its sum: the same bytes are the same file, whoever has put them there. */
const infoOf = ({ blob, sha256, size }: HubEntry): StoredInfo =>
  ({ kind: "file", size, identity: sha256 ?? blob, stamp: sha256 ?? blob })
