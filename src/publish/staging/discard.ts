/** Removing a staging folder. Only what this program put there is ever removed. */
import { dirname, join } from "node:path"
import type { DiskCalls } from "../../io/Disk.ts"
import { isMissing } from "../../store/present.ts"
import { type FolderIdentity, isForeign, isSameFolder, isStill, isUnborn, standingOf } from "./folder.ts"
import { asideOf, COMMIT, discardedPrefix, MARKER, STAGING_NAME, stagingOf } from "./names.ts"
import { isFormerDisposable } from "./record.ts"

/**
 * Remove the staging folder of a target, if it is the one that was locked. It first leaves its name, in one step, so that nobody finds
 * it half-removed; a crash after that leaves a folder that the next run for this target removes. A folder that holds the former
 * content of a target stays unless its new content is in place. True: it is gone.
 */
export const discard = async (disk: DiskCalls, target: string, own: FolderIdentity): Promise<boolean> => {
  const staging = stagingOf(target)
  const standing = await standingOf(disk, staging)
  if (standing.is === "absent") return true
  if (standing.is !== "ours" || !isSameFolder(standing.folder, own)) return false
  if (!await isFormerDisposable(disk, staging, target)) return false
  const aside = asideOf(staging)
  try {
    await disk.rename(staging, aside)
  } catch (error) {
    return isMissing(error) || removeFolder(disk, staging)
  }
  if (await isStill(disk, aside, own)) {
    // Under its own name, half of a former content would be kept for its owner.
    await disk.syncDirectory(dirname(staging))
    return removeFolder(disk, aside)
  }
  // Since the look another folder had got that name.
  await disk.rename(aside, staging)
  return false
}

/** The marker goes last, when all else is gone for good, so that a crash leaves a folder that is known to be ours, or an empty one. */
const removeFolder = async (disk: DiskCalls, folder: string): Promise<boolean> => {
  const names = await disk.list(folder)
  for (const name of names) if (name !== MARKER && name !== COMMIT && !isForeign(name)) await disk.removeTree(join(folder, name))
  // It says what the former content was, as long as that is there.
  if (names.includes(COMMIT)) await disk.remove(join(folder, COMMIT))
  if (names.some(isForeign)) return false
  await disk.syncDirectory(folder)
  await disk.remove(join(folder, MARKER))
  await disk.removeDirectory(folder)
  return true
}

/** Remove what crashes left of former staging folders of a target. */
export const sweep = async (disk: DiskCalls, target: string): Promise<void> => {
  const directory = dirname(target)
  const prefix = discardedPrefix(target)
  for (const name of await disk.list(directory).catch(() => [])) {
    if (!name.startsWith(prefix) || !STAGING_NAME.test(name)) continue
    const path = join(directory, name)
    const remove = async (): Promise<unknown> => {
      const standing = await standingOf(disk, path)
      if (standing.is === "empty") return disk.removeDirectory(path)
      if (standing.is === "ours" || await isUnborn(disk, path)) return removeFolder(disk, path)
      return undefined
    }
    await remove().catch(() => {})
  }
}
