/** Small files, read whole. */
import { InvalidFile } from "../errors.ts"
import { readFully, type Store } from "./Store.ts"

/**
 * Read a regular file of at most `limit` bytes. `shown` is the path for messages.
 *
 * @throws InvalidFile `file/not-regular`, `file/too-large`; IoError
 */
export const readSmall = async (store: Store, path: string, shown: string, limit: number): Promise<Uint8Array> => {
  if ((await store.stat(path)).kind !== "file") {
    throw new InvalidFile({ path: shown, code: "file/not-regular", problem: "is not a regular file" })
  }
  const file = await store.open(path, "read")
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
