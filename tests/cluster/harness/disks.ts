/** Disks that do what shared file systems do. */
import { IoError } from "../../../src/errors.ts"
import { type DiskCalls, nodeCalls } from "../../../src/io/Disk.ts"

export const refusing = (path: string, operation: string, errno: string) => Promise.reject(new IoError({ path, operation, errno }))

/** A name (of which `part` is a part) is seen by this process only so many milliseconds after it was first asked for. */
export const late = (milliseconds: number, part = ""): DiskCalls => {
  const asked = new Map<string, number>()
  const seen = (path: string): boolean => {
    if (!path.includes(part)) return true
    const first = asked.get(path) ?? performance.now()
    asked.set(path, first)
    return performance.now() - first >= milliseconds
  }
  return {
    ...nodeCalls,
    stat: (path) => (seen(path) ? nodeCalls.stat(path) : refusing(path, "stat", "ENOENT")),
    open: (path, mode, options) => (mode === "create" || seen(path) ? nodeCalls.open(path, mode, options) : refusing(path, "open", "ENOENT"))
  }
}

/** The first look at every file meets a stale handle. */
export const stale = (): DiskCalls => {
  const met = new Set<string>()
  return {
    ...nodeCalls,
    open: (path, mode, options) => {
      if (mode !== "read" || met.has(path)) return nodeCalls.open(path, mode, options)
      met.add(path)
      return refusing(path, "open", "ESTALE")
    }
  }
}

export const noDirectorySync = (): DiskCalls => ({ ...nodeCalls, syncDirectory: (path) => refusing(path, "fsync", "EINVAL") })
export const noLinks = (): DiskCalls => ({ ...nodeCalls, link: (_, to) => refusing(to, "link", "EPERM") })
