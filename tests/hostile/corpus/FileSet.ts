/** A directory as a value: built in memory, spoilt in memory, written where a test wants it, and compared with what is left of it. */
import { execFileSync } from "node:child_process"
import { closeSync, ftruncateSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync, writeSync } from "node:fs"
import { dirname, join } from "node:path"
import { crc32 } from "node:zlib"

/** What can stand under a name. `sparse`: a file of `size` bytes that begins with `head`; the rest is zero and takes no room. */
export type Node =
  | Uint8Array
  | { readonly kind: "link"; readonly to: string }
  | { readonly kind: "fifo" }
  | { readonly kind: "directory" }
  | { readonly kind: "sparse"; readonly head: Uint8Array; readonly size: number }

/** Relative path → node. Directories come into being with what is in them. */
export type FileSet = ReadonlyMap<string, Node>

export const link = (to: string): Node => ({ kind: "link", to })
export const fifo: Node = { kind: "fifo" }
export const directory: Node = { kind: "directory" }

export const writeFileSet = (root: string, files: FileSet): void => {
  mkdirSync(root, { recursive: true })
  for (const [name, node] of files) {
    const path = join(root, name)
    mkdirSync(dirname(path), { recursive: true })
    if (node instanceof Uint8Array) writeFileSync(path, node)
    else if (node.kind === "link") symlinkSync(node.to, path)
    else if (node.kind === "fifo") execFileSync("mkfifo", [path])
    else if (node.kind === "directory") mkdirSync(path, { recursive: true })
    else {
      const file = openSync(path, "wx")
      writeSync(file, node.head)
      ftruncateSync(file, node.size)
      closeSync(file)
    }
  }
}

/** Above this, a file of a test is sparse: its size stands for its content. */
const LARGEST_COMPARED = 64 << 20

/** Every path below `root` and what is there, as lines that can be compared. */
export const snapshot = (root: string, below = ""): ReadonlyArray<string> =>
  readdirSync(join(root, below)).sort().flatMap((name) => {
    const path = join(below, name)
    const info = lstatSync(join(root, path))
    if (info.isDirectory()) return [`${path}/`, ...snapshot(root, path)]
    if (info.isSymbolicLink()) return [`${path} -> ${readlinkSync(join(root, path))}`]
    if (!info.isFile()) return [`${path} (special)`]
    const content = info.size <= LARGEST_COMPARED ? crc32(readFileSync(join(root, path))) : "-"
    return [`${path} ${info.size} ${content}`]
  })
