/** Small files, written whole. */
import { dirname } from "node:path"
import { type DiskCalls, type FileInfo, writeFully } from "./Disk.ts"
import { hasErrno, present } from "../store/present.ts"

/** Create a file with these bytes and make them durable. The name must be free. Returns what it then is. */
export const writeSmall = async (disk: DiskCalls, path: string, bytes: Uint8Array): Promise<FileInfo> => {
  const file = await disk.open(path, "create")
  try {
    await writeFully(file, bytes, 0)
    await file.sync()
    return await file.info()
  } finally {
    await file.close()
  }
}

/** Make a folder and those above it, as far as they are missing. */
export const makeFolders = async (disk: DiskCalls, path: string): Promise<void> => {
  if (await present(disk, path) !== undefined) return
  if (dirname(path) !== path) await makeFolders(disk, dirname(path))
  await disk.makeDirectory(path).catch((error: unknown) => {
    if (!hasErrno(error, "EEXIST")) throw error
  })
}
