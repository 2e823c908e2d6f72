/**
 * The commit. A target that does not exist (or is an empty directory) comes into being by one rename. One that exists is
 * replaced by two: Linux can exchange two directories in one call (`renameat2`), but Node cannot ask for it. Between the two
 * renames the target's name is free, and both its former and its next content are whole, beside it. A crash in there is
 * recognised by the `commit` record, which was made durable before, and whoever opens the target next finishes it.
 *
 * Other programs may do anything between two calls. So everything is checked before the renames, as late as can be, and what was moved
 * is checked again where it came to be: what is not what it was goes back, and nothing that came from elsewhere is ever removed.
 */
import { dirname, join, resolve } from "node:path"
import { OutputRefused, quote } from "../../errors.ts"
import type { DiskCalls } from "../../io/Disk.ts"
import { hasErrno, isMissing, present } from "../../store/present.ts"
import { topOf } from "./content.ts"
import { discard } from "./discard.ts"
import { type FolderIdentity, isSameFolder, isStill, standingOf } from "./folder.ts"
import { awaitSilence, holderOf, Lock } from "./Lock.ts"
import { DATA, REPLACED, stagingOf } from "./names.ts"
import { type CommitRecord, isFormerContent, readCommitRecord, removeRecord, writeRecord } from "./record.ts"
import { disturbed, type StagedFiles } from "./StagedFiles.ts"
import { appeared, targetChanged, type ObservedTarget, type Permission, requireUnchanged } from "./target.ts"

/** What is published where, and who may. */
export interface PendingSwap {
  readonly folder: string
  readonly lock: Pick<Lock, "verify">
  readonly target: ObservedTarget
  readonly permission: Permission
  readonly staged: StagedFiles
}

/**
 * Give the finished `data` of a staging folder the target's name. On failure before `onPublished` the target is what it was;
 * after it, the new content is there and it is not known whether that is durable.
 *
 * @throws OutputRefused `output/appeared`, `changed`, `disturbed`, `lock-lost`; IoError.
 */
export const publishData = async (disk: DiskCalls, publication: PendingSwap, onPublished: () => void): Promise<void> => {
  const { folder, staged, target } = publication
  const data = await staged.check()
  await (target.content === undefined ? create : replace)(disk, publication, data)
  onPublished()
  await disk.syncDirectory(dirname(target.path))
  await disk.syncDirectory(folder)
}

/** The last looks before a rename; the target, which takes longest, first. */
const lookAgain = async (disk: DiskCalls, { lock, permission, target }: PendingSwap): Promise<void> => {
  await requireUnchanged(disk, target, permission)
  await lock.verify()
}

const create = async (disk: DiskCalls, publication: PendingSwap, data: FolderIdentity): Promise<void> => {
  await lookAgain(disk, publication)
  await giveName(disk, publication, data)
}

/** Rename the data to the target, and see that it is the data that came there, whole. */
const giveName = async (disk: DiskCalls, { lock, staged, target }: PendingSwap, data: FolderIdentity): Promise<void> => {
  if (!await isStill(disk, staged.directory, data)) throw disturbed(target.shown, staged.directory, "was replaced")
  await disk.rename(staged.directory, target.path).catch((error: unknown) => {
    throw hasErrno(error, "ENOTEMPTY", "EEXIST", "ENOTDIR") ? appeared(target.shown) : error
  })
  if (!await isStill(disk, target.path, data)) {
    // What was moved was in a folder that is not ours: it goes back there. Otherwise somebody has taken the target's name since.
    if (!await lock.verify().then(() => true, () => false)) await disk.rename(target.path, staged.directory)
    throw disturbed(target.shown, target.path, "was replaced")
  }
  const damaged = await staged.firstDamaged(target.path)
  if (damaged === undefined) return
  // Unless others have put something into it already.
  if (!await staged.hasOthers(target.path)) await disk.rename(target.path, staged.directory)
  throw disturbed(target.shown, join(target.path, damaged), "was changed")
}

const replace = async (disk: DiskCalls, publication: PendingSwap, data: FolderIdentity): Promise<void> => {
  const { folder, target } = publication
  const former = target.content!
  const replaced = join(folder, REPLACED)
  await writeRecord(disk, folder, { ino: data.ino, former: { ino: former.folder.ino, top: former.top } })
  try {
    // The folder that is about to hold the former content must itself be durable.
    await disk.syncDirectory(dirname(folder))
    await lookAgain(disk, publication)
    await disk.rename(target.path, replaced).catch((error: unknown) => {
      throw isMissing(error) ? targetChanged(target.shown, "it was removed or moved away") : hasErrno(error, "ENOTDIR") ? targetChanged(target.shown, "something else was put there") : error
    })
    try {
      if (!isSameFolder(await disk.lstat(replaced), former.folder)) throw targetChanged(target.shown, "another directory was put there")
      if (await topOf(disk, replaced) !== former.top) throw targetChanged(target.shown, "what is in it changed")
      await giveName(disk, publication, data)
    } catch (error) {
      await putBack(disk, replaced, target)
      throw error
    }
  } catch (error) {
    // As long as the former content is aside, the record says what it is.
    if (!(await present(disk, replaced).catch(() => true))) await removeRecord(disk, folder).catch(() => {})
    throw error
  }
}

const putBack = (disk: DiskCalls, replaced: string, { path, shown }: ObservedTarget): Promise<void> =>
  disk.rename(replaced, path).catch((error: unknown): never => {
    if (!hasErrno(error, "ENOTEMPTY", "EEXIST", "ENOTDIR")) throw error
    throw new OutputRefused({
      path: shown,
      code: "output/unfinished",
      problem: `another program put something there in the moment of its replacement; its former content is in ${quote(replaced)}`,
      hint: "Move that to where it belongs, or remove it."
    })
  })

export type Recovery = "finished" | "none"

/** How long another process may take between its two renames. */
const PATIENCE_MS = 2000

/**
 * Finish a replacement that a crash cut in two: `path` has its new content afterwards. Costs one call if there is nothing to
 * do. Reading commands do this too, for without it they would find nothing.
 */
export const recover = async (disk: DiskCalls, path: string): Promise<Recovery> => {
  if (await present(disk, path)) return "none"
  const staging = stagingOf(path)
  if ((await standingOf(disk, staging)).is !== "ours") return "none"
  const record = await readCommitRecord(disk, staging)
  if (!record) return "none"
  for (let waited = 0; waited < PATIENCE_MS && await holderOf(disk, staging); waited += 50) {
    await new Promise((resolve) => setTimeout(resolve, 50))
    if (await present(disk, path)) return "none"
  }
  const lock = await Lock.acquire(disk, staging, path, await awaitSilence(disk, staging, path))
  try {
    const isFinished = await finish(disk, staging, path, record)
    if (isFinished || lock.fresh) await discard(disk, path, lock.identity).catch(() => {})
    return isFinished ? "finished" : "none"
  } finally {
    await lock.release()
  }
}

/** What came between the renames of another process, or was added since, is nobody's to replace: then the former content goes back. */
const finish = async (disk: DiskCalls, staging: string, path: string, record: CommitRecord): Promise<boolean> => {
  const [data, replaced] = [await present(disk, join(staging, DATA)), await present(disk, join(staging, REPLACED))]
  // Without it the replacement was complete, and somebody has removed the target since.
  if (data?.ino !== record.ino || await present(disk, path)) return false
  const isFinished = replaced === undefined || await isFormerContent(disk, staging)
  await disk.rename(join(staging, isFinished ? DATA : REPLACED), path)
  await disk.syncDirectory(dirname(path))
  await disk.syncDirectory(staging)
  return isFinished
}

/** {@link recover} for whoever reads `path`, which may be the target or directly inside it. */
export const recoverToRead = async (disk: DiskCalls, path: string): Promise<void> => {
  const absolute = resolve(path)
  if (await present(disk, absolute)) return
  if (await recover(disk, dirname(absolute)) === "none") await recover(disk, absolute)
}
