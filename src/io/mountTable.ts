/** What this process sees mounted. */
import { readFileSync } from "node:fs"

/** A mounted file system. */
export interface Mount {
  /** The directory it is seen at. */
  readonly point: string
  /** As the kernel names it: `ext4`, `tmpfs`, `nfs4`, `fuse.sshfs`. */
  readonly type: string
  /** What is mounted: a device, a server's path, a name. */
  readonly source: string
}

const unescaped = (text: string): string => text.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)))

/** What this process sees mounted; a bind mount has its parent's device number, so only this list shows it. Empty where there is none. */
export const mounts = (): ReadonlyArray<Mount> => {
  try {
    // proc(5): field 5 is the mount point; after a lone hyphen come type and source. Blanks and backslashes are octal escapes.
    return readFileSync("/proc/self/mountinfo", "utf8").split("\n").filter((line) => line !== "").map((line) => {
      const fields = line.split(" ").map(unescaped)
      const hyphen = fields.indexOf("-", 6)
      return { point: fields[4] ?? "", type: fields[hyphen + 1] ?? "", source: fields[hyphen + 2] ?? "" }
    })
  } catch {
    return []
  }
}

/** What is mounted where `path`, without symbolic links, is; undefined where nobody says. */
export const mountOf = (path: string): Mount | undefined =>
  mounts().reduce<Mount | undefined>((found, mount) => {
    const isAbove = mount.point === "/" || path === mount.point || path.startsWith(`${mount.point}/`)
    // Of two on the same directory the later one is seen.
    return isAbove && mount.point.length >= (found?.point.length ?? 0) ? mount : found
  }, undefined)
