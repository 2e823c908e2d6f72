/** File systems and where they are mounted: nothing can be renamed over a mount point, nothing linked from one file system to another. */
import { readFileSync } from "node:fs"
import { dirname, resolve } from "node:path"
import type { DiskCalls } from "./Disk.ts"
import { isMissing } from "../store/present.ts"

/** Mounted directories of this process; a bind mount has its parent's device number, so only this list shows it. */
const mounted = (): ReadonlySet<string> => {
  try {
    // proc(5): field 5 of a line is the mount point, with octal escapes for blanks and backslashes.
    return new Set(readFileSync("/proc/self/mountinfo", "utf8").split("\n").map((line) =>
      (line.split(" ")[4] ?? "").replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)))))
  } catch {
    return new Set()
  }
}

/** `path` without symbolic links. */
export const isMountPoint = async (disk: DiskCalls, path: string): Promise<boolean> =>
  mounted().has(path) || (await disk.stat(path)).dev !== (await disk.stat(dirname(path))).dev

/** The number of the file system on which `path` is, or would come to be. */
export const fileSystemOf = async (disk: DiskCalls, path: string): Promise<number> => {
  for (let at = resolve(path);; at = dirname(at)) {
    try {
      return (await disk.stat(at)).dev
    } catch (error) {
      if (!isMissing(error) || dirname(at) === at) throw error
    }
  }
}
