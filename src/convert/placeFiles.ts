/** Unchanged files at their new place without moving a byte: hard links if asked for, copies that share their blocks otherwise. */
import { join } from "node:path"
import { IoError } from "../errors.ts"
import type { DiskCalls } from "../io/Disk.ts"
import type { SideFile } from "./filesBelow.ts"

/** Another file system, not permitted, not supported. `EINVAL`, `ENOTTY`: how some file systems say that they cannot share blocks. */
const IMPOSSIBLE: ReadonlySet<string> = new Set(["EXDEV", "EPERM", "EACCES", "EMLINK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "ENOTTY"])

export interface Placed {
  readonly linked: ReadonlySet<string>
  readonly cloned: ReadonlySet<string>
}

/** Does the call; false if the file system cannot, or if an interrupted run began to copy the file. */
const tried = async (call: () => Promise<void>): Promise<boolean> => {
  try {
    await call()
    return true
  } catch (error) {
    if (error instanceof IoError && (IMPOSSIBLE.has(error.errno) || error.errno === "EEXIST")) return false
    throw error
  }
}

const synced = async (disk: DiskCalls, path: string): Promise<void> => {
  const file = await disk.open(path, "read")
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Link or clone what can be, durably; what is in neither set has to be copied. */
export const placeFiles = async (disk: DiskCalls, files: ReadonlyArray<SideFile>, into: string, link: boolean): Promise<Placed> => {
  const linked = new Set<string>()
  const cloned = new Set<string>()
  for (const { name, path } of files) {
    const to = join(into, name)
    if (link && await tried(() => disk.link(path, to))) linked.add(name)
    else if (await tried(() => disk.clone(path, to))) cloned.add(name)
    else continue
    await synced(disk, to)
  }
  return { linked, cloned }
}
