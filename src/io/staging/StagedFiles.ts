/**
 * The directory that is being filled: its files, each as it was when it was finished. At the commit every one must still be that, with
 * the same inode, size, mtime and ctime, so that nobody has written to it since, and nothing else may be beside them. That costs one
 * call a file and reads nothing.
 */
import { join } from "node:path"
import { OutputRefused, quote } from "../../errors.ts"
import type { DiskCalls } from "../Disk.ts"
import { type FileIdentity, identityOf, sameButForCtime, sameFile } from "../identity.ts"
import { hasErrno, isMissing } from "../present.ts"
import { writeSmall } from "../small.ts"

interface Staged {
  readonly identity: FileIdentity
  /** Its ctime may move: it has other names, which others may remove. */
  readonly linked: boolean
}

export class StagedFiles {
  readonly directory: string
  readonly #disk: DiskCalls
  readonly #files = new Map<string, Staged>()
  readonly #folders = new Set<string>()

  /** Names are relative to `directory`. */
  constructor(disk: DiskCalls, directory: string) {
    this.#disk = disk
    this.directory = directory
  }

  /** A folder, which may be there already; those above it as well. */
  async makeDirectory(name: string): Promise<void> {
    let path = ""
    for (const part of name.split("/").filter((p) => p !== "")) {
      path = join(path, part)
      this.#folders.add(path)
      await ensureDirectory(this.#disk, join(this.directory, path))
    }
  }

  /** Write a small file and make it durable. */
  async write(name: string, bytes: Uint8Array): Promise<void> {
    await writeSmall(this.#disk, join(this.directory, name), bytes)
    await this.record(name)
  }

  /** A file that another has closed, durable, in a folder that was made here. */
  finished(name: string, identity: FileIdentity, linked = false): void {
    this.#files.set(name, { identity, linked })
  }

  /** A file that is there, as it is now. */
  async record(name: string, linked = false): Promise<void> {
    this.finished(name, identityOf(await this.#disk.lstat(join(this.directory, name))), linked)
  }

  /** Everything that is there, as it is now: for a writer that records nothing itself. */
  async recordAll(below = ""): Promise<void> {
    for (const name of await this.#disk.list(join(this.directory, below))) {
      const path = join(below, name)
      if ((await this.#disk.lstat(join(this.directory, path))).kind === "directory") {
        this.#folders.add(path)
        await this.recordAll(path)
      } else await this.record(path)
    }
  }

  /**
   * OutputRefused `output/disturbed` unless `data`, which is this directory under whatever name, holds these files and no others, as they
   * were finished. `sync`: make the directories durable as well, the innermost first.
   */
  async check(data: string, target: string, sync: boolean): Promise<void> {
    const disk = this.#disk
    const missing = new Set(this.#files.keys())
    const disturbed = (name: string, how: string): never => {
      throw new OutputRefused({
        path: target,
        code: "output/disturbed",
        problem: `${quote(join(data, name))} ${how} by another program while the work went on; nothing was published`,
        hint: "Find out which one, then go on with --resume: what is intact is kept."
      })
    }
    const visit = async (below: string): Promise<void> => {
      const directory = join(data, below)
      const names = await disk.list(directory).catch((error: unknown) => (isMissing(error) ? disturbed(below, "was removed") : Promise.reject(error)))
      for (const name of names) {
        const path = join(below, name)
        const info = await disk.lstat(join(data, path)).catch((error: unknown) => (isMissing(error) ? disturbed(path, "was removed") : Promise.reject(error)))
        if (info.kind === "directory") {
          if (!this.#folders.has(path)) disturbed(path, "was put there")
          await visit(path)
          continue
        }
        const own = this.#files.get(path)
        if (!own) disturbed(path, "was put there")
        else if (!(own.linked ? sameButForCtime : sameFile)(own.identity, info)) disturbed(path, "was changed")
        missing.delete(path)
      }
      if (sync) await disk.syncDirectory(directory)
    }
    const root = await disk.lstat(data).catch((error: unknown) => (isMissing(error) ? disturbed("", "was removed") : Promise.reject(error)))
    if (root.kind !== "directory") disturbed("", "was replaced")
    await visit("")
    for (const name of missing) disturbed(name, "was removed")
  }
}

export const ensureDirectory = async (disk: DiskCalls, path: string): Promise<void> => {
  await disk.makeDirectory(path).catch((error: unknown) => {
    if (!hasErrno(error, "EEXIST")) throw error
  })
}
