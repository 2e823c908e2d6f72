/** The local disk as a {@link Store}. */
import type { DiskCalls, FileInfo } from "../io/Disk.ts"
import type { Store, StoredInfo } from "./Store.ts"

const infoOf = ({ ctimeNs, dev, ino, kind, mtimeNs, size }: FileInfo): StoredInfo => ({
  kind: kind === "file" || kind === "directory" ? kind : "other",
  size,
  identity: `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`
})

export const localStore = (disk: DiskCalls): Store => ({
  list: disk.list,
  stat: async (path) => infoOf(await disk.stat(path)),
  open: async (path, options) => {
    const file = await disk.open(path, "read", options)
    return {
      path,
      read: file.read,
      info: async () => infoOf(await file.info()),
      close: file.close
    }
  }
})
