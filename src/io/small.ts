/** Small files, read and written whole. */
import { dirname } from "node:path"
import { InvalidFile } from "../errors.ts"
import { type DiskCalls, type FileInfo, readFully, writeFully } from "./Disk.ts"
import { hasErrno, present } from "./present.ts"

/**
 * Read a regular file of at most `limit` bytes. `shown` is the path for messages.
 *
 * @throws InvalidFile `file/not-regular`, `file/too-large`; IoError
 */
export const readSmall = async (disk: DiskCalls, path: string, shown: string, limit: number): Promise<Uint8Array> => {
  if ((await disk.stat(path)).kind !== "file") {
    throw new InvalidFile({ path: shown, code: "file/not-regular", problem: "is not a regular file" })
  }
  const file = await disk.open(path, "read")
  try {
    const { size } = await file.info()
    if (size > limit) {
      throw new InvalidFile({ path: shown, code: "file/too-large", problem: `has ${size} bytes; at most ${limit} are read` })
    }
    const bytes = new Uint8Array(size)
    await readFully(file, bytes, 0)
    return bytes
  } finally {
    await file.close()
  }
}

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
