/** The files that a piece of work reads, as they were when it was planned, and whether they still are. */
import { InvalidFile, IoError } from "../errors.ts"
import { eachOf } from "../store/eachOf.ts"
import type { Store, StoredState } from "../store/Store.ts"
import { hasErrno, isMissing } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { type Ingredient, known } from "./journal/Fingerprint.ts"

export interface SourceState extends StoredState {
  readonly path: string
}

/** A side file has some tens of MB at most. */
export const LARGEST_SIDE_FILE = 256 << 20

/** A small file that is read whole, by its content. */
export interface SmallSource extends Ingredient {
  readonly path: string
}

export const smallSource = async (store: Store, what: string, path: string): Promise<SmallSource> =>
  ({ ...known(what, await readSmall(store, path, path, LARGEST_SIDE_FILE)), path })

export const changedSource = (path: string, problem = "was changed while it was converted"): InvalidFile =>
  new InvalidFile({ path, code: "source/changed", problem: `${problem}; nothing was published` })

/** What an error says of a source that is shorter than it was, or gone. */
export const lostSource = (error: unknown, sources: ReadonlyArray<Pick<SourceState, "path">>): InvalidFile | undefined => {
  if (!(error instanceof IoError) || !sources.some(({ path }) => path === error.path)) return undefined
  if (error.errno === "ESHORT") return changedSource(error.path, "was cut short while it was converted")
  return hasErrno(error, "ENOENT", "ESTALE") ? changedSource(error.path, "was removed while it was converted") : undefined
}

/** Small files must still have the content that the job names. @throws InvalidFile `source/changed`; IoError */
export const refuseChangedSmall = async (store: Store, sources: ReadonlyArray<SmallSource>): Promise<void> => {
  await eachOf(sources, async ({ content, path, what }) => {
    const now = await smallSource(store, what, path).catch((error: unknown): never => {
      throw isMissing(error) ? changedSource(path, "was removed while it was converted") : error
    })
    if (now.content !== content) throw changedSource(path)
  })
}

/**
 * Files that were read must still be those whose headers were checked. Returns those of which only the ctime is another: a link, a
 * change of mode, or content that was replaced with its mtime put back. Which of these, the content says.
 *
 * @throws InvalidFile `source/changed`; IoError
 */
export const refuseChanged = async (store: Store, sources: ReadonlyArray<SourceState>): Promise<ReadonlyArray<string>> => {
  const touched = await eachOf(sources, async ({ identity, path, stamp }) => {
    const now = await store.stat(path).catch((error: unknown): never => {
      throw isMissing(error) ? changedSource(path, "was removed while it was converted") : error
    })
    if (now.identity !== identity) throw changedSource(path)
    return now.stamp === stamp ? [] : [path]
  })
  return touched.flat()
}
