/**
 * The commit. A target that does not exist (or is an empty directory) comes into being by one rename. One that exists is
 * replaced by two: Linux can exchange two directories in one call (`renameat2`), but Node cannot ask for it. Between the two
 * renames the target's name is free, and both its former and its next content are whole, beside it. A crash in there is
 * recognised by the `commit` record, which was made durable before, and whoever opens the target next finishes it.
 */
import { dirname, join, resolve } from "node:path"
import { z } from "zod"
import { decodeJson } from "../../document/decode.ts"
import { InvalidFile, OutputRefused } from "../../errors.ts"
import type { DiskCalls } from "../Disk.ts"
import { hasErrno, isMissing, present } from "../present.ts"
import { readSmall, writeSmall } from "../small.ts"
import { acquireLock, holderOf } from "./Lock.ts"
import { COMMIT, DATA, REPLACED, stagingOf } from "./names.ts"
import { discard } from "./discard.ts"
import type { Target } from "./target.ts"

/** The inode of the new content tells the old and the new apart wherever they are. */
const commitSchema = z.object({ ino: z.number() })

const LARGEST_RECORD = 1024

const appeared = (target: Target) =>
  new OutputRefused({
    path: target.shown,
    code: "output/appeared",
    problem: "something was put there while the work went on",
    hint: "--resume --overwrite replaces it; nothing has to be done again."
  })

/** Make every directory of a tree durable, the innermost first. Its files are already. */
export const syncTree = async (disk: DiskCalls, directory: string): Promise<void> => {
  for (const name of await disk.list(directory)) {
    const path = join(directory, name)
    if ((await disk.lstat(path)).kind === "directory") await syncTree(disk, path)
  }
  await disk.syncDirectory(directory)
}

/**
 * Give the finished `data` of a staging folder the target's name. On failure before `onPublished` the target is what it was;
 * after it, the new content is there and it is not known whether that is durable.
 */
export const publishData = async (disk: DiskCalls, staging: string, target: Target, onPublished: () => void): Promise<void> => {
  const data = join(staging, DATA)
  await syncTree(disk, data)
  if (target.state === "full") await replace(disk, staging, target)
  else {
    await disk.rename(data, target.path).catch((error: unknown) => {
      throw hasErrno(error, "ENOTEMPTY", "EEXIST", "ENOTDIR") ? appeared(target) : error
    })
  }
  onPublished()
  await disk.syncDirectory(dirname(target.path))
  await disk.syncDirectory(staging)
}

const replace = async (disk: DiskCalls, staging: string, target: Target): Promise<void> => {
  const data = join(staging, DATA)
  const replaced = join(staging, REPLACED)
  const record = join(staging, COMMIT)
  await disk.removeTree(replaced)
  await writeSmall(disk, `${record}.new`, Buffer.from(JSON.stringify({ ino: (await disk.stat(data)).ino })))
  await disk.rename(`${record}.new`, record)
  await disk.syncDirectory(staging)
  // The folder that is about to hold the former content must itself be durable.
  await disk.syncDirectory(dirname(staging))
  await disk.rename(target.path, replaced)
  try {
    await disk.rename(data, target.path)
  } catch (error) {
    await disk.rename(replaced, target.path)
    await disk.remove(record)
    throw error
  }
}

export type Recovery = "finished" | "none"

const readRecord = async (disk: DiskCalls, staging: string): Promise<{ readonly ino: number } | undefined> => {
  const path = join(staging, COMMIT)
  try {
    return decodeJson(commitSchema, path, await readSmall(disk, path, path, LARGEST_RECORD))
  } catch (error) {
    if (error instanceof InvalidFile || isMissing(error)) return undefined
    throw error
  }
}

/** How long another process may take between its two renames. */
const PATIENCE_MS = 2000

/**
 * Finish a replacement that a crash cut in two: `path` has its new content afterwards. Costs one call if there is nothing to
 * do. Reading commands do this too, for without it they would find nothing.
 */
export const recover = async (disk: DiskCalls, path: string): Promise<Recovery> => {
  if (await present(disk, path)) return "none"
  const staging = stagingOf(path)
  const record = await readRecord(disk, staging)
  if (!record) return "none"
  for (let waited = 0; waited < PATIENCE_MS && await holderOf(disk, staging); waited += 50) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    if (await present(disk, path)) return "none"
  }
  const lock = await acquireLock(disk, staging, path)
  try {
    const data = await present(disk, join(staging, DATA))
    // Without it the replacement was complete, and somebody has removed the target since.
    if (data?.ino !== record.ino || await present(disk, path)) return "none"
    await disk.rename(join(staging, DATA), path)
    await disk.syncDirectory(dirname(path))
    await disk.syncDirectory(staging)
  } finally {
    await lock.release()
    if (lock.fresh) await disk.removeDirectory(staging).catch(() => {})
  }
  await discard(disk, path).catch(() => {})
  return "finished"
}

/** {@link recover} for whoever reads `path`, which may be the target or directly inside it. */
export const recoverToRead = async (disk: DiskCalls, path: string): Promise<void> => {
  const absolute = resolve(path)
  if (await present(disk, absolute)) return
  if (await recover(disk, dirname(absolute)) === "none") await recover(disk, absolute)
}

/** Was the target of this staging folder replaced, and only the cleaning up is missing? */
export const isReplaced = async (disk: DiskCalls, staging: string, path: string): Promise<boolean> => {
  const record = await readRecord(disk, staging)
  return record !== undefined && (await present(disk, path))?.ino === record.ino
}
