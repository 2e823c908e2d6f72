/** Files in memory as a store: what a driver is without a disk, without inodes and without times. */
import { createHash } from "node:crypto"
import { IoError } from "../../src/errors.ts"
import type { Store, StoredInfo } from "../../src/store/Store.ts"

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

/** `files`: by absolute path; changing the map changes the store. */
export const memoryStore = (files: Map<string, Uint8Array>): Store => {
  const fail = (path: string, operation: string, errno: string): never => { throw new IoError({ path, operation, errno }) }
  const below = (path: string): ReadonlyArray<string> =>
    [...new Set([...files.keys()].filter((name) => name.startsWith(`${path}/`)).map((name) => name.slice(path.length + 1).split("/")[0]!))].sort()
  const infoOf = (path: string, operation: string): StoredInfo => {
    const bytes = files.get(path)
    if (bytes) return { kind: "file", size: bytes.byteLength, identity: sha256(bytes), stamp: sha256(bytes) }
    const names = below(path)
    return names.length > 0 ? { kind: "directory", size: 0, identity: names.join("/"), stamp: names.join("/") } : fail(path, operation, "ENOENT")
  }
  return {
    list: async (path) => infoOf(path, "list").kind === "directory" ? below(path) : fail(path, "list", "ENOTDIR"),
    stat: async (path) => infoOf(path, "stat"),
    lstat: async (path) => infoOf(path, "stat"),
    realpath: async (path) => (infoOf(path, "realpath"), path),
    open: async (path, _mode, { direct = false } = {}) => {
      // There is no page cache to go past.
      if (direct) fail(path, "open", "EINVAL")
      if (infoOf(path, "open").kind !== "file") fail(path, "open", "EISDIR")
      return {
        path,
        info: async () => infoOf(path, "stat"),
        read: async (into, position) => {
          const part = files.get(path)!.subarray(position, position + into.byteLength)
          into.set(part)
          return part.byteLength
        },
        close: async () => {}
      }
    }
  }
}
