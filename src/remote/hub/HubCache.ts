/**
 * The Hub's cache on this machine, in the official Python client's layout: `blobs/<sum>` holds contents, `snapshots/<commit>/<path>` links
 * to them, `refs/<revision>` names commits. Read where it has what is wanted; written only on request, whole files under names of their
 * own that are renamed when their sum is right.
 */
import { createHash, type Hash, randomBytes } from "node:crypto"
import { dirname, join, relative } from "node:path"
import { IoError } from "../../errors.ts"
import { type DiskCalls, writeFully } from "../../io/Disk.ts"
import { makeFolders } from "../../io/small.ts"
import { hasErrno, isMissing, present } from "../../store/present.ts"
import type { StoredFile } from "../../store/Store.ts"
import type { HubPlace } from "../place.ts"
import type { RangedObject } from "../RangedFile.ts"
import type { HubEntry } from "./HubClient.ts"

/** Bytes fetched at a time, and how many of these beside each other. */
const PART = 8 << 20
const PARTS = 8

/** The folder of a repository in the cache. */
export const repositoryFolder = (cache: string, repository: string): string => join(cache, `models--${repository.replaceAll("/", "--")}`)

/** How the Hub names a content: by SHA-256, or by git's SHA-1 of a small one. */
const sumOf = ({ blob, sha256 }: HubEntry): string => sha256 ?? blob

const hashOf = ({ sha256, size }: HubEntry): Hash =>
  sha256 !== undefined ? createHash("sha256") : createHash("sha1").update(`blob ${size}\0`)

export class HubCache {
  readonly #disk: DiskCalls
  readonly #directory: string
  readonly #keep: boolean
  readonly #underWay = new Map<string, Promise<void>>()

  /** `keep`: what is read is kept. */
  constructor(disk: DiskCalls, directory: string, keep: boolean) {
    this.#disk = disk
    this.#directory = directory
    this.#keep = keep
  }

  /** The content of a file, if the cache has it, or if it is to be kept. `remote` reads it where it comes from. */
  async open(place: HubPlace, entry: HubEntry, remote: () => RangedObject): Promise<StoredFile | undefined> {
    const blob = join(repositoryFolder(this.#directory, place.repository), "blobs", sumOf(entry))
    if (!(await this.#has(blob, entry))) {
      if (!this.#keep) return undefined
      const fetching = this.#underWay.get(blob) ?? this.#fetch(blob, entry, remote()).finally(() => this.#underWay.delete(blob))
      this.#underWay.set(blob, fetching)
      await fetching
    }
    if (this.#keep) await this.#link(place, blob)
    return this.#disk.open(blob, "read")
  }

  /** Files there are whole: they were renamed when they were. One of another size is somebody's accident. */
  async #has(blob: string, { size }: HubEntry): Promise<boolean> {
    const found = await present(this.#disk, blob)
    return found?.kind === "file" && found.size === size
  }

  async #fetch(blob: string, entry: HubEntry, remote: RangedObject): Promise<void> {
    await makeFolders(this.#disk, dirname(blob))
    const temporary = `${blob}.${randomBytes(4).toString("hex")}.incomplete`
    const file = await this.#disk.open(temporary, "create")
    try {
      const hash = hashOf(entry)
      for (let at = 0; at < entry.size; at += PART * PARTS) {
        const room = Buffer.allocUnsafe(Math.min(PART * PARTS, entry.size - at))
        const parts = Array.from({ length: Math.ceil(room.byteLength / PART) }, (_, i) => room.subarray(i * PART, (i + 1) * PART))
        await Promise.all(parts.map((part, i) => remote.read(at + i * PART, part)))
        hash.update(room)
        await writeFully(file, room, at)
      }
      if (hash.digest("hex") !== sumOf(entry)) {
        throw new IoError({ path: blob, operation: "read", code: "hub/content", errno: "EPROTO", detail: "what the Hub sends is not the content that it lists" })
      }
      await file.sync()
      await file.close()
      await this.#disk.rename(temporary, blob)
    } catch (error) {
      await file.close().catch(() => {})
      await this.#disk.remove(temporary).catch(() => {})
      throw error
    }
  }

  /** Name the content in the snapshot, as the Python client does. */
  async #link({ path, repository, revision }: HubPlace, blob: string): Promise<void> {
    const name = join(repositoryFolder(this.#directory, repository), "snapshots", revision, path)
    if (await present(this.#disk, name) !== undefined) return
    await makeFolders(this.#disk, dirname(name))
    await this.#disk.symbolicLink(relative(dirname(name), blob), name).catch(async (error: unknown) => {
      if (hasErrno(error, "EEXIST")) return
      // File systems without links get a second name of the content.
      if (!hasErrno(error, "EPERM", "ENOTSUP", "EOPNOTSUPP")) throw error
      await this.#disk.link(blob, name)
    })
  }

  /** Which commit a branch or tag was when it was read. */
  async note(repository: string, revision: string, commit: string): Promise<void> {
    if (!this.#keep || revision === commit) return
    const ref = join(repositoryFolder(this.#directory, repository), "refs", revision)
    await makeFolders(this.#disk, dirname(ref))
    const temporary = `${ref}.${randomBytes(4).toString("hex")}`
    const file = await this.#disk.open(temporary, "create")
    try {
      await writeFully(file, Buffer.from(commit), 0)
    } finally {
      await file.close()
    }
    await this.#disk.rename(temporary, ref)
  }

  /** The commit that a branch or tag was when it was last read, for those who may not ask. */
  async noted(repository: string, revision: string): Promise<string | undefined> {
    const ref = join(repositoryFolder(this.#directory, repository), "refs", revision)
    const file = await this.#disk.open(ref, "read").catch((error: unknown) => {
      if (isMissing(error)) return undefined
      throw error
    })
    if (file === undefined) return undefined
    try {
      const bytes = Buffer.alloc(64)
      const text = bytes.toString("latin1", 0, await file.read(bytes, 0)).trim()
      return /^[0-9a-f]{40}$/.test(text) ? text : undefined
    } finally {
      await file.close()
    }
  }
}
