/** Pipes, sockets, devices, and directories that bear the name of a file: looked at, never opened, refused by name. */
import { join } from "node:path"
import { InvalidFile } from "../errors.ts"
import { eachOf } from "./eachOf.ts"
import type { Store } from "./Store.ts"
import { isMissing } from "./present.ts"

/**
 * Refuse `names` of a directory that are no regular files: everything but directories, and directories of which `isFile` says that
 * such a name is a file's. What does not exist (a link to nothing) is the business of whoever opens it.
 *
 * @throws InvalidFile `file/not-regular`; IoError
 */
export const refuseSpecials = async (
  store: Store,
  directory: string,
  names: ReadonlyArray<string>,
  isFile: (name: string) => boolean
): Promise<void> => {
  await eachOf(names, async (name) => {
    const path = join(directory, name)
    const info = await store.stat(path).catch((error: unknown) => {
      if (isMissing(error)) return undefined
      throw error
    })
    if (info?.kind === "other" || (info?.kind === "directory" && isFile(name))) {
      throw new InvalidFile({
        path,
        code: "file/not-regular",
        problem: info.kind === "directory" ? "is a directory with the name of a weights file" : "is a pipe, a socket or a device among the files of a checkpoint",
        hint: "Take it out of the directory."
      })
    }
  })
}
