/** A directory of the local disk as a sink. Its folders are there; it is the caller's to give it a name that others know. */
import { join } from "node:path"
import type { DiskCalls, FileInfo } from "../../io/Disk.ts"
import type { Sink } from "../../store/Sink.ts"
import { OutputFile } from "./OutputFile.ts"

/** `commit`: what makes the directory visible; if nothing is said, its entries become durable. */
export const directorySink = (disk: DiskCalls, directory: string, commit = () => disk.syncDirectory(directory)): Sink<FileInfo> => ({
  create: ({ begun, name, shared, size }) => {
    const path = join(directory, name)
    return shared ? OutputFile.join(disk, path, size) : OutputFile.create(disk, path, size, begun)
  },
  commit
})
