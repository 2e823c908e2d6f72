/**
 * Small documents that processes leave for each other in a shared directory.
 *
 * **Details**
 *
 * Everything rests on names that nobody else uses, `rename` and `link`, and on what is in a document: its own name and the hash of
 * its value. Nothing is found by listing, no lock is taken, no time of a file is looked at. A name that another host has written may
 * come late (NFS caches that a name is missing), a handle may be stale: both are looked for again.
 */
import { createHash } from "node:crypto"
import { join } from "node:path"
import { z } from "zod"
import { parseJson } from "../../document/StrictJson.ts"
import { FormatError, InvalidFile } from "../../errors.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { withoutDirectorySync } from "../../io/shared.ts"
import { writeSmall } from "../../io/small.ts"
import { hasErrno, isMissing } from "../../store/present.ts"
import { readSmall } from "../../store/readSmall.ts"

/** A completion file names every file of a share. */
const LARGEST = 64 << 20
const STALE_TRIES = 3

const schema = z.object({ name: z.string(), sum: z.string(), value: z.unknown() })

const sumOf = (value: unknown): string => createHash("sha256").update(JSON.stringify(value ?? null)).digest("hex")

export class Board {
  readonly #disk: DiskCalls
  readonly #folder: string
  constructor(disk: DiskCalls, folder: string, notes: Set<string> = new Set()) {
    this.#disk = withoutDirectorySync(disk, (text) => notes.add(text))
    this.#folder = folder
  }

  /** Put a document there, in place of what is there. */
  async put(name: string, value: unknown): Promise<void> {
    await this.#disk.rename(await this.#draft(name, value), join(this.#folder, name))
    await this.#disk.syncDirectory(this.#folder)
  }

  /** Put a document there if there is none of this name; says whether. */
  async claim(name: string, value: unknown): Promise<boolean> {
    const draft = await this.#draft(name, value)
    const path = join(this.#folder, name)
    try {
      // Atomic also on NFS, where exclusive creation once was not.
      await this.#disk.link(draft, path)
      return true
    } catch (error) {
      if (hasErrno(error, "EEXIST")) return false
      if (!hasErrno(error, "EPERM", "ENOTSUP", "EOPNOTSUPP", "EMLINK")) throw error
      // No hard links here: whoever is the first to make a directory of that name may rename.
      const isFirst = await this.#disk.makeDirectory(`${path}.claim`).then(() => true, (refused: unknown) => {
        if (hasErrno(refused, "EEXIST")) return false
        throw refused
      })
      if (isFirst) await this.#disk.rename(draft, path)
      return isFirst
    } finally {
      await this.#disk.remove(draft).catch(() => {})
    }
  }

  /** What is there; undefined if there is nothing, or nothing whole, yet. */
  async get(name: string): Promise<{ readonly value: unknown } | undefined> {
    const path = join(this.#folder, name)
    for (let tries = 1;; tries++) {
      try {
        const document = schema.safeParse(parseJson(await readSmall(this.#disk, path, path, LARGEST), { maxBytes: LARGEST }))
        if (!document.success || document.data.name !== name || document.data.sum !== sumOf(document.data.value)) return undefined
        return { value: document.data.value }
      } catch (error) {
        if (hasErrno(error, "ESTALE") && tries < STALE_TRIES) continue
        if (isMissing(error) || error instanceof FormatError || error instanceof InvalidFile || hasErrno(error, "ESTALE", "ESHORT")) return undefined
        throw error
      }
    }
  }

  async makeFolder(): Promise<void> {
    await this.#disk.makeDirectory(this.#folder).catch((error: unknown) => { if (!hasErrno(error, "EEXIST")) throw error })
  }

  async remove(name: string): Promise<void> {
    await this.#disk.remove(join(this.#folder, name)).catch(() => {})
  }

  async removeAll(): Promise<void> {
    await this.#disk.removeTree(this.#folder).catch(() => {})
  }

  async #draft(name: string, value: unknown): Promise<string> {
    const draft = join(this.#folder, `${name}.${crypto.randomUUID()}`)
    await writeSmall(this.#disk, draft, Buffer.from(JSON.stringify({ name, sum: sumOf(value), value: value ?? null })))
    return draft
  }
}
