/** File systems and where they are mounted: nothing can be renamed over a mount point, nothing linked from one file system to another. */
import { dirname, resolve } from "node:path"
import type { DiskCalls } from "./Disk.ts"
import { mounts } from "./mountTable.ts"
import { isMissing } from "../store/present.ts"

/** `path` without symbolic links. */
export const isMountPoint = async (disk: DiskCalls, path: string): Promise<boolean> =>
  mounts().some(({ point }) => point === path) || (await disk.stat(path)).dev !== (await disk.stat(dirname(path))).dev

/** The number of the file system on which `path` is, or would be. */
export const fileSystemOf = async (disk: DiskCalls, path: string): Promise<number> => {
  for (let at = resolve(path);; at = dirname(at)) {
    try {
      return (await disk.stat(at)).dev
    } catch (error) {
      if (!isMissing(error) || dirname(at) === at) throw error
    }
  }
}
