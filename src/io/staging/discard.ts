/** Removing a staging folder. */
import { dirname, join } from "node:path"
import type { DiskCalls } from "../Disk.ts"
import { isMissing, present } from "../present.ts"
import { discardedPrefix, REPLACED, stagingOf } from "./names.ts"

/**
 * Remove the staging folder of a target. It first leaves its name, in one step, so that nobody finds it half-removed; a crash
 * after that leaves a folder that the next run for this target removes. A folder that holds the former content of a target
 * which is not there stays. True: it is gone.
 */
export const discard = async (disk: DiskCalls, target: string): Promise<boolean> => {
  const staging = stagingOf(target)
  if (await present(disk, join(staging, REPLACED)) && !(await present(disk, target))) return false
  const aside = join(dirname(target), discardedPrefix(target) + crypto.randomUUID())
  try {
    await disk.rename(staging, aside)
  } catch (error) {
    if (!isMissing(error)) await disk.removeTree(staging)
    return true
  }
  await disk.removeTree(aside)
  return true
}

/** Remove what crashes left of former staging folders of a target. */
export const sweep = async (disk: DiskCalls, target: string): Promise<void> => {
  const directory = dirname(target)
  const prefix = discardedPrefix(target)
  for (const name of await disk.list(directory).catch(() => [])) {
    if (name.startsWith(prefix)) await disk.removeTree(join(directory, name)).catch(() => {})
  }
}
