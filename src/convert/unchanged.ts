/** Files that the result has as the source has them: links if asked for, copies that share their blocks where the file system can, else copies. */
import { Effect } from "effect"
import { NoSpace, quote } from "../errors.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import type { DiskCalls } from "../io/Disk.ts"
import { fileSystemOf } from "../io/mounts.ts"
import { DiskPublication } from "../publish/DiskPublication.ts"
import type { Publication } from "../publish/Publication.ts"
import { isRemote } from "../remote/place.ts"
import type { SideFile } from "./filesBelow.ts"
import { placeFiles } from "./placeFiles.ts"

/** What is going to be written. */
export interface Forecast {
  readonly bytes: number
  /** What to say of it before it begins. */
  readonly notes: ReadonlyArray<string>
}

export interface UnchangedFiles {
  /** Of the source. */
  readonly directory: string
  readonly files: ReadonlyArray<SideFile>
  /** Bytes of everything else that is written. */
  readonly others: number
}

export interface PlacedUnchanged {
  readonly linked: ReadonlySet<string>
  readonly cloned: ReadonlySet<string>
  /** Those that must be copied. */
  readonly left: ReadonlyArray<SideFile>
}

export const sizeOf = (files: Iterable<{ readonly size: number }>): number => Iterator.from(files).reduce((sum, f) => sum + f.size, 0)

/** Bytes that a run to `target` writes. */
export const forecastOf = (disk: DiskCalls, { directory, files, others }: UnchangedFiles, target: string, link: boolean) =>
  converting(async (): Promise<Forecast> => {
    const copied = sizeOf(files)
    if (!link || files.length === 0) return { bytes: others + copied, notes: [] }
    if (!isRemote(target) && !isRemote(directory) && await fileSystemOf(disk, directory) === await fileSystemOf(disk, target)) return { bytes: others, notes: [] }
    const note = `--link: ${quote(target)} is on another file system than ${quote(directory)}, so ${files.length} unchanged files (${copied} bytes) must be copied`
    return { bytes: others + copied, notes: [note] }
  })

/** Link or clone what can be into a publication whose folders are there. NoSpace if links that were counted on are impossible and there is no room for copies. */
export const placeUnchanged = Effect.fnUntraced(function*(
  disk: DiskCalls,
  publication: Publication,
  { directory, files, others }: UnchangedFiles,
  { expected, link }: { readonly expected: Forecast; readonly link: boolean }
) {
  const { directory: into, recorder } = publication
  if (!(publication instanceof DiskPublication) || isRemote(directory)) return { linked: new Set(), cloned: new Set(), left: files } satisfies PlacedUnchanged as PlacedUnchanged
  const { cloned, linked } = yield* Effect.uninterruptible(converting(() => placeFiles(disk, files, into, link)))
  const left = files.filter((f) => !linked.has(f.name) && !cloned.has(f.name))
  if (link && left.length > 0 && expected.bytes < others + sizeOf(files)) yield* converting(() => requireSpace(disk, into, sizeOf(left) + others))
  yield* uninterruptibly(async () => { for (const name of [...linked, ...cloned]) await recorder.skip(name, linked.has(name)) })
  return { linked, cloned, left } satisfies PlacedUnchanged
})

/** Links that turned out to be impossible need room that nobody has asked for yet. */
const requireSpace = async (disk: DiskCalls, path: string, needed: number): Promise<void> => {
  const free = await disk.freeSpace(path)
  if (free < needed) throw new NoSpace({ path, needed, free, hint: "Files that could not be linked must be copied." })
}

/** What to say of links that were asked for and could not be made. */
export const unlinkedNotes = (link: boolean, files: number, linked: number, cloned: number): ReadonlyArray<string> => {
  const unlinked = link ? files - linked - cloned : 0
  return unlinked === 0 ? [] : [`${unlinked} files could not be linked (another file system, or not permitted) and were copied`]
}
