/** Paths that are to be read: where they lead, or in words why nowhere. */
import { InvalidFile } from "../errors.ts"
import type { Store, StoredInfo } from "./Store.ts"
import { hasErrno, present } from "./present.ts"

/** Codes of the errors of this file that mean: there is nothing by that name. */
const NOTHING_THERE: ReadonlySet<string> = new Set(["file/missing", "file/dangling-link"])

export const isNotThere = (error: unknown): boolean => error instanceof InvalidFile && NOTHING_THERE.has(error.code)

const explain = async (store: Store, path: string, shown: string, error: unknown): Promise<never> => {
  const refuse = (code: string, problem: string): never => {
    throw new InvalidFile({ path: shown, code: `file/${code}`, problem })
  }
  if (hasErrno(error, "ELOOP")) refuse("link-loop", "is a link that leads back to itself")
  if (hasErrno(error, "ENAMETOOLONG")) refuse("missing", "does not exist: the name is longer than names can be")
  if (hasErrno(error, "ENOTDIR")) refuse("missing", "does not exist: what it should be in is not a directory")
  if (!hasErrno(error, "ENOENT")) throw error
  const found = await present(store, path)
  return found?.kind === "link" ? refuse("dangling-link", "is a link to something that does not exist") : refuse("missing", "does not exist")
}

/** What is at `path`, links followed. InvalidFile `file/` + `missing`, `dangling-link` or `link-loop`; IoError. */
export const existing = (store: Store, path: string, shown = path): Promise<StoredInfo> =>
  store.stat(path).catch((error: unknown) => explain(store, path, shown, error))

/** The real path of `path`. Errors as {@link existing}. */
export const realPathOf = (store: Store, path: string, shown = path): Promise<string> =>
  store.realpath(path).catch((error: unknown) => explain(store, path, shown, error))
