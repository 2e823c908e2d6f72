/** What is in a directory, so that a later look tells whether it is still the same, and still the same directory. */
import { createHash, type Hash } from "node:crypto"
import { join } from "node:path"
import type { DiskCalls, FileInfo } from "../../io/Disk.ts"
import { hasErrno } from "../../store/present.ts"
import type { FolderIdentity } from "./folder.ts"

export interface StagingContent {
  readonly folder: FolderIdentity
  readonly names: ReadonlyArray<string>
  /** Digest of what is directly in it. */
  readonly top: string
  /** Digest of everything below it. */
  readonly whole: string
}

/** Not by its device: that may have another number after a restart. */
const stateOf = ({ ctimeNs, ino, kind, mtimeNs, size }: FileInfo): string => `${kind} ${ino} ${size} ${mtimeNs} ${ctimeNs}`

/** What went away meanwhile, or cannot be looked into, is a state too. */
const orErrno = async <A>(call: Promise<A>): Promise<A | string> => {
  try {
    return await call
  } catch (error) {
    if (hasErrno(error, "ENOENT", "ENOTDIR", "EACCES", "EPERM")) return (error as { readonly errno: string }).errno
    throw error
  }
}

const addTo = async (hash: Hash, disk: DiskCalls, directory: string, deep: boolean): Promise<ReadonlyArray<string>> => {
  const names = await orErrno(disk.list(directory))
  hash.update(JSON.stringify(names))
  if (typeof names === "string") return []
  for (const name of names) {
    const path = join(directory, name)
    const info = await orErrno(disk.lstat(path))
    hash.update(`${typeof info === "string" ? info : stateOf(info)}\n`)
    if (deep && typeof info !== "string" && info.kind === "directory") await addTo(hash, disk, path, true)
  }
  return names
}

/** {@link StagingContent.top} of a directory as it is now. */
export const topOf = async (disk: DiskCalls, directory: string): Promise<string> => {
  const hash = createHash("sha256")
  await addTo(hash, disk, directory, false)
  return hash.digest("hex")
}

export const digestOfFolder = async (disk: DiskCalls, directory: string): Promise<StagingContent> => {
  const { dev, ino } = await disk.stat(directory)
  const hash = createHash("sha256")
  const names = await addTo(hash, disk, directory, true)
  return { folder: { dev, ino }, names, top: await topOf(disk, directory), whole: hash.digest("hex") }
}
