/** Which file it was, and in which state: to find out whether it is still the one that was read. */
import type { FileInfo } from "./Disk.ts"

/**
 * The inode tells a file from another one of the same name; the change time (ctime), which no program can set, tells that it was
 * written to, even when its length and modification time were put back (`cp -p`, `rsync -a`, `touch -r`).
 */
export type FileIdentity = Pick<FileInfo, "dev" | "ino" | "size" | "mtimeNs" | "ctimeNs">

export const identityOf = ({ ctimeNs, dev, ino, mtimeNs, size }: FileInfo): FileIdentity => ({ dev, ino, size, mtimeNs, ctimeNs })

export const sameFile = (a: FileIdentity, b: FileIdentity): boolean => sameButForCtime(a, b) && a.ctimeNs === b.ctimeNs

/** Its mode, owner or number of links may have changed; its content may have, too, by somebody who put the mtime back. */
export const sameButForCtime = (a: FileIdentity, b: FileIdentity): boolean =>
  a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs
