/** What is at a target, and whether something may be published there. */
import { basename, dirname, resolve, sep } from "node:path"
import { OutputRefused, quote, some } from "../../errors.ts"
import type { DiskCalls } from "../Disk.ts"
import { isMountPoint } from "../mounts.ts"
import { isMissing, present } from "../present.ts"

export interface Target {
  /** As the user wrote it, for messages. */
  readonly shown: string
  /** Absolute; a link to a directory is resolved, so that what it points to is replaced and the link stays. */
  readonly path: string
  readonly state: "absent" | "empty" | "full"
  /** Names in it. */
  readonly names: ReadonlyArray<string>
}

export interface Permission {
  /** Replace what is there. */
  readonly overwrite: boolean
  /** Directories that the work reads from. */
  readonly sources: ReadonlyArray<string>
  /** Why this content must not be replaced, by its names; undefined: it may. */
  readonly precious: (names: ReadonlyArray<string>) => string | undefined
}

const refused = (path: string, code: string, problem: string, hint?: string): OutputRefused =>
  new OutputRefused({ path, code: `output/${code}`, problem, ...(hint ? { hint } : {}) })

/** Look at a target. OutputRefused if no directory can ever be published there. */
export const findTarget = async (disk: DiskCalls, shown: string): Promise<Target> => {
  let path = resolve(shown)
  if (basename(path) === "") throw refused(shown, "mount-point", "is the root directory", "Name a folder inside it.")
  const found = await present(disk, path)
  if (!found) return { shown, path, state: "absent", names: [] }
  if (found.kind === "link") {
    path = await disk.realpath(path).catch((error: unknown) => {
      throw isMissing(error) ? refused(shown, "dangling-link", "is a link to something that does not exist") : error
    })
  }
  if ((await disk.stat(path)).kind !== "directory") throw refused(shown, "not-a-directory", "exists and is not a directory")
  if (await isMountPoint(disk, path)) {
    throw refused(shown, "mount-point", "is a mount point, over which nothing can be renamed", "Name a folder inside it.")
  }
  const names = await disk.list(path)
  return { shown, path, state: names.length === 0 ? "empty" : "full", names }
}

const isWithin = (path: string, directory: string): boolean => path === directory || path.startsWith(directory + sep)

/** OutputRefused if that target may not be written. */
export const checkTarget = async (disk: DiskCalls, { names, path, shown, state }: Target, permission: Permission): Promise<void> => {
  for (const source of permission.sources) {
    const real = await disk.realpath(source).catch(() => resolve(source))
    if (state !== "absent" && isWithin(real, path)) {
      throw refused(shown, "holds-source", `${real === path ? "is" : "contains"} the source ${quote(source)}, which would be replaced`, "Name another target.")
    }
  }
  if (state !== "full") return
  if (!permission.overwrite) throw refused(shown, "exists", "exists and is not empty", "--overwrite replaces it once the new one is complete.")
  const reason = permission.precious(names)
  if (reason !== undefined) {
    throw refused(shown, "not-replaceable", `${reason}, so --overwrite does not replace it`, `In it: ${some(names, 5)}. Name another target, or remove it yourself.`)
  }
}

/** Create the directories above the target that do not exist; the outermost first, each durable. */
export const makeParents = async (disk: DiskCalls, target: Target): Promise<ReadonlyArray<string>> => {
  const missing: Array<string> = []
  let directory = dirname(target.path)
  while (true) {
    try {
      if ((await disk.stat(directory)).kind !== "directory") throw refused(directory, "not-a-directory", "is not a directory")
      break
    } catch (error) {
      if (!isMissing(error) || dirname(directory) === directory) throw error
      missing.unshift(directory)
      directory = dirname(directory)
    }
  }
  const made: Array<string> = []
  try {
    for (const path of missing) {
      await disk.makeDirectory(path)
      made.push(path)
      await disk.syncDirectory(dirname(path))
    }
  } catch (error) {
    await removeParents(disk, made)
    throw error
  }
  return made
}

/** Remove those of the directories that are empty. */
export const removeParents = async (disk: DiskCalls, made: ReadonlyArray<string>): Promise<void> => {
  for (const path of made.toReversed()) await disk.removeDirectory(path).catch(() => {})
}
