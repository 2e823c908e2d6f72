/** Is there anything by that name? */
import { IoError } from "../errors.ts"

export const isMissing = (error: unknown): boolean =>
  error instanceof IoError && (error.errno === "ENOENT" || error.errno === "ENOTDIR")

/** What is at `path`, a final link not followed; undefined if nothing is. */
export const present = <Info>(store: { readonly lstat: (path: string) => Promise<Info> }, path: string): Promise<Info | undefined> =>
  store.lstat(path).catch((error: unknown) => {
    if (isMissing(error)) return undefined
    throw error
  })

export const hasErrno = (error: unknown, ...errnos: ReadonlyArray<string>): boolean =>
  error instanceof IoError && errnos.includes(error.errno)
