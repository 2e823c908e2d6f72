/** What is at a target, and whether something may be published there. */
import { basename, dirname, resolve } from "node:path"
import { OutputRefused, quote, some } from "../../errors.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { isMountPoint } from "../../io/mounts.ts"
import { isMissing, present } from "../../store/present.ts"
import { type StagingContent, digestOfFolder } from "./content.ts"
import { isSameFolder } from "./folder.ts"

export interface Target {
  /** As the user wrote it, for messages. */
  readonly shown: string
  /** Absolute; a link to a directory is resolved, so that what it points to is replaced and the link stays. */
  readonly path: string
  readonly state: "absent" | "empty" | "full"
  /** Names in it. */
  readonly names: ReadonlyArray<string>
}

/** A target as it was when the work began. */
export interface ObservedTarget extends Target {
  /** Of a full one. */
  readonly content: StagingContent | undefined
}

export interface Permission {
  /** Replace what is there. */
  readonly overwrite: boolean
  /** Directories that the work reads from. */
  readonly sources: ReadonlyArray<string>
  /** Why this content must not be replaced, by its names; undefined: it may. */
  readonly notReplaceable: (names: ReadonlyArray<string>) => string | undefined
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

/** Does `inner` lie in `outer`, or is it the same directory? Whatever links and mounts lead there; what does not exist lies in its parent. */
const isWithin = async (disk: DiskCalls, inner: string, outer: string): Promise<boolean> => {
  const found = await disk.stat(outer).catch(() => undefined)
  if (!found) return false
  let at = resolve(inner)
  while (true) {
    const real = await disk.realpath(at).catch(() => undefined)
    if (real !== undefined) {
      at = real
      if (isSameFolder(await disk.stat(at).catch(() => undefined), found)) return true
    }
    if (dirname(at) === at) return false
    at = dirname(at)
  }
}

/** OutputRefused if that target may not be written. */
export const checkTarget = async (disk: DiskCalls, { names, path, shown, state }: Target, permission: Permission): Promise<void> => {
  for (const source of permission.sources) {
    if (state !== "absent" && await isWithin(disk, source, path)) {
      const real = await disk.realpath(source).catch(() => resolve(source))
      throw refused(shown, "holds-source", `${real === path ? "is" : "contains"} the source ${quote(source)}, which would be replaced`, "Name another target.")
    }
    if (await isWithin(disk, path, source)) {
      throw refused(shown, "inside-source", `lies inside the source ${quote(source)}, which is only read`, "Name a target outside it.")
    }
  }
  if (state !== "full") return
  if (!permission.overwrite) throw refused(shown, "exists", "exists and is not empty", "--overwrite replaces it once the new one is complete.")
  const reason = permission.notReplaceable(names)
  if (reason !== undefined) {
    throw refused(shown, "not-replaceable", `${reason}, so --overwrite does not replace it`, `In it: ${some(names, 5)}. Name another target, or remove it yourself.`)
  }
}

/** The target with its content, for {@link requireUnchanged}. */
export const observeTarget = async (disk: DiskCalls, target: Target): Promise<ObservedTarget> =>
  ({ ...target, content: target.state === "full" ? await digestOfFolder(disk, target.path) : undefined })

export const appeared = (shown: string): OutputRefused =>
  refused(shown, "appeared", "something was put there while the work went on; it was left alone", "Look at it. --resume --overwrite replaces it, if it is a checkpoint; nothing has to be done again.")

export const targetChanged = (shown: string, what: string): OutputRefused =>
  refused(shown, "changed", `${what} while the work went on; it was left as it is`, "Look at it. --resume goes on with what is done, and replaces what is there now only with --overwrite.")

/** OutputRefused `output/appeared`, `output/changed` unless the target is what it was when the work began. */
export const requireUnchanged = async (disk: DiskCalls, before: ObservedTarget, permission: Permission): Promise<void> => {
  const now = await findTarget(disk, before.shown)
  if (now.path !== before.path) throw targetChanged(before.shown, "the link came to lead elsewhere")
  if (before.content === undefined) {
    if (now.state === "full") throw appeared(before.shown)
    return
  }
  if (now.state === "absent") throw targetChanged(before.shown, "it was removed or moved away")
  const { folder, names, whole } = await digestOfFolder(disk, now.path)
  if (!isSameFolder(folder, before.content.folder)) throw targetChanged(before.shown, "another directory was put there")
  if (whole === before.content.whole) return
  const reason = permission.notReplaceable(names)
  const added = names.filter((name) => !before.names.includes(name))
  const removed = before.names.filter((name) => !names.includes(name))
  throw targetChanged(
    before.shown,
    added.length > 0
      ? `${some(added, 3)} came to be in it${reason === undefined ? "" : ` (${reason})`}`
      : removed.length > 0
      ? `${some(removed, 3)} went out of it`
      : "files in it were changed"
  )
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
