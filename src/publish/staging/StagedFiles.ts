/**
 * The directory that is being filled: its files, each as it was when it was finished. At the commit every one must still be that, with
 * the same inode, size, mtime and ctime, so that nobody has written to it since, and nothing else may be beside them. That costs one
 * call a file and reads nothing.
 */
import { join } from "node:path"
import { OutputRefused, quote } from "../../errors.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { type FileIdentity, identityOf, sameButForCtime, sameFile } from "../../io/identity.ts"
import { hasErrno, isMissing, present } from "../../store/present.ts"
import { writeSmall } from "../../io/small.ts"
import type { FolderIdentity } from "./folder.ts"

interface Staged {
  readonly identity: FileIdentity
  /** `linked`: it has other names, and its ctime moves when others remove them. `small`: what others may rightly change once it is published. */
  readonly kind: "payload" | "linked" | "small"
}

/** The content of a target, as it is put together. */
export interface StagedContent {
  readonly makeDirectory: (name: string) => Promise<void>
  /** A small file. */
  readonly write: (name: string, bytes: Uint8Array) => Promise<void>
  /** A file that is there, as it is now. */
  readonly record: (name: string, linked?: boolean) => Promise<void>
}

export class StagedFiles implements StagedContent {
  readonly directory: string
  readonly #disk: DiskCalls
  readonly #target: string
  readonly #files = new Map<string, Staged>()
  readonly #folders = new Set<string>()

  /** Names are relative to `directory`; `target` is what it will be, for messages. */
  constructor(disk: DiskCalls, directory: string, target: string) {
    this.#disk = disk
    this.#target = target
    this.directory = directory
  }

  /** Of all files. */
  get names(): ReadonlyArray<string> {
    return [...this.#files.keys()]
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
    const path = join(this.directory, name)
    const { ino, size } = await writeSmall(this.#disk, path, bytes)
    const found = await this.#disk.lstat(path)
    if (found.ino !== ino || found.size !== size || size !== bytes.byteLength) throw disturbed(this.#target, path, "was changed")
    this.#files.set(name, { identity: identityOf(found), kind: "small" })
  }

  /** A file that another has closed, durable, in a folder that was made here. */
  finished(name: string, identity: FileIdentity, linked = false): void {
    this.#files.set(name, { identity, kind: linked ? "linked" : "payload" })
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
   * OutputRefused `output/disturbed` unless the directory holds these files and no others, as they
   * were finished; makes the directories durable as well, the innermost first. Returns which directory it is.
   */
  async check(): Promise<FolderIdentity> {
    const { directory } = this
    const disk = this.#disk
    const missing = new Set(this.#files.keys())
    const refuse = (name: string, how: string): never => {
      throw disturbed(this.#target, join(directory, name), how)
    }
    const orMissing = (name: string) => (error: unknown): never => {
      if (isMissing(error)) refuse(name, "was removed")
      throw error
    }
    const visit = async (below: string): Promise<void> => {
      for (const name of await disk.list(join(directory, below)).catch(orMissing(below))) {
        const path = join(below, name)
        const info = await disk.lstat(join(directory, path)).catch(orMissing(path))
        const own = this.#files.get(path)
        if (info.kind === "directory" && this.#folders.has(path)) await visit(path)
        else if (!own) refuse(path, "was put there")
        else if (!isUnchanged(own, info)) refuse(path, "was changed")
        missing.delete(path)
      }
      await disk.syncDirectory(join(directory, below))
    }
    const root = await disk.lstat(directory).catch(orMissing(""))
    if (root.kind !== "directory") refuse("", "was replaced")
    await visit("")
    for (const name of missing) refuse(name, "was removed")
    return root
  }

  /** The first file of the payload that is not what it was; undefined if all are. `directory`: this one under its new name. */
  async firstDamaged(directory: string): Promise<string | undefined> {
    for (const [name, own] of this.#files) {
      if (own.kind === "small") continue
      const found = await present(this.#disk, join(directory, name))
      if (!found || !isUnchanged(own, found)) return name
    }
    return undefined
  }

  /** Does `directory` hold anything that is not of these? */
  async hasOthers(directory: string, below = ""): Promise<boolean> {
    for (const name of await this.#disk.list(join(directory, below))) {
      const path = join(below, name)
      if (this.#folders.has(path) ? await this.hasOthers(directory, path) : !this.#files.has(path)) return true
    }
    return false
  }
}

const isUnchanged = ({ identity, kind }: Staged, now: FileIdentity): boolean => (kind === "linked" ? sameButForCtime : sameFile)(identity, now)

export const disturbed = (target: string, path: string, how: string): OutputRefused =>
  new OutputRefused({
    path: target,
    code: "output/disturbed",
    problem: `${quote(path)} ${how} by another program while the work went on`,
    hint: "Find out which one, then go on with --resume: what is intact is kept."
  })

export const ensureDirectory = async (disk: DiskCalls, path: string): Promise<void> => {
  await disk.makeDirectory(path).catch((error: unknown) => {
    if (!hasErrno(error, "EEXIST")) throw error
  })
}
