/** The files of a checkpoint's own directory, and no others. */
import { join } from "node:path"
import { InvalidFile } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { realPathOf } from "../store/existing.ts"
import { isInside } from "../store/inside.ts"
import { readSmall } from "../store/readSmall.ts"

/**
 * The path of the file `name` of `directory`, which must not be a link that leads out of it.
 *
 * @throws InvalidFile `checkpoint/link-escapes`, `file/missing` …; IoError.
 */
export const ownFile = async (store: Store, directory: string, name: string): Promise<string> => {
  const path = join(directory, name)
  const real = await realPathOf(store, path)
  if (!isInside(await realPathOf(store, directory), real)) {
    throw new InvalidFile({ path, code: "checkpoint/link-escapes", problem: "is a link that leaves the checkpoint's directory" })
  }
  return path
}

/** Read it whole. Errors as {@link ownFile}, and `file/not-regular`, `file/too-large`. */
export const readOwn = async (store: Store, directory: string, name: string, limit: number): Promise<Uint8Array> => {
  const path = await ownFile(store, directory, name)
  return readSmall(store, path, path, limit)
}
