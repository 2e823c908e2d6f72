/**
 * A lock on a staging folder that needs no cleaning up after a crash. The holder is whoever the highest `lock.N` names, if that
 * process still runs. To take over from a dead one is to create `lock.N+1`, which only one process can; nothing is ever deleted
 * to get in, so two processes that find the same dead holder cannot both succeed.
 */
import { join } from "node:path"
import { decodeJson } from "../../document/decode.ts"
import { InvalidFile, IoError, OutputRefused, quote } from "../../errors.ts"
import type { DiskCalls } from "../Disk.ts"
import { isAlive, type Owner, ownerSchema, thisProcess } from "../owner.ts"
import { hasErrno, isMissing } from "../present.ts"
import { readSmall, writeSmall } from "../small.ts"

const LARGEST_LOCK = 4096
/** Others may come and go while we look. */
const ATTEMPTS = 20

/** Held by this thread now: its process running does not tell. */
const held = new Set<string>()

export interface Lock {
  readonly owner: Owner
  /** The folder did not exist before. */
  readonly fresh: boolean
  /** Who held it last, if it was never released. */
  readonly previous: Owner | undefined
  /** Give it up; the folder stays. */
  readonly release: () => Promise<void>
}

const generations = (names: ReadonlyArray<string>): ReadonlyArray<number> =>
  names.flatMap((name) => /^lock\.(\d{1,9})$/.exec(name)?.[1] ?? []).map(Number).sort((a, b) => b - a)

const readOwner = async (disk: DiskCalls, folder: string, generation: number): Promise<Owner | undefined> => {
  const path = join(folder, `lock.${generation}`)
  try {
    return decodeJson(ownerSchema, path, await readSmall(disk, path, path, LARGEST_LOCK))
  } catch (error) {
    if (error instanceof InvalidFile || isMissing(error)) return undefined
    throw error
  }
}

/** Is it this very thread, of which we know whether it holds the lock? */
const isSelf = (owner: Owner): boolean => {
  const { host, boot, pid, start, thread } = thisProcess()
  return owner.host === host && owner.boot === boot && owner.pid === pid && owner.start === start && owner.thread === thread
}

const isHolding = (owner: Owner): boolean => isSelf(owner) ? held.has(owner.nonce) : isAlive(owner)

/** Who holds the lock of a folder; undefined if nobody does. */
export const holderOf = async (disk: DiskCalls, folder: string): Promise<Owner | undefined> => {
  const [highest] = generations(await disk.list(folder))
  const owner = highest === undefined ? undefined : await readOwner(disk, folder, highest)
  return owner && isHolding(owner) ? owner : undefined
}

const refused = (target: string, folder: string, owner: Owner): OutputRefused =>
  new OutputRefused({
    path: target,
    code: "output/locked",
    problem: owner.pid === process.pid
      ? "this process is already writing it"
      : `process ${owner.pid} on ${quote(owner.host)} has been writing it since ${owner.since}`,
    hint: owner.host === thisProcess().host
      ? "Wait for it, or end it; what it has done is kept for --resume."
      : `Whether that process still runs cannot be seen from here. If it is gone, remove ${quote(folder)}.`
  })

/** Link where the file system can, so that a lock is never seen half-written. */
const createLock = async (disk: DiskCalls, folder: string, generation: number, owner: Owner): Promise<void> => {
  const bytes = Buffer.from(JSON.stringify(owner))
  const written = join(folder, `lock.${owner.nonce}.new`)
  const path = join(folder, `lock.${generation}`)
  try {
    await writeSmall(disk, written, bytes)
    await disk.link(written, path).catch((error: unknown) => {
      if (!hasErrno(error, "EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK")) throw error
      return writeSmall(disk, path, bytes)
    })
  } finally {
    await disk.remove(written).catch(() => {})
  }
}

/** Take the lock of `folder`, which is created if need be. OutputRefused `output/locked` if another process holds it. */
export const acquireLock = async (disk: DiskCalls, folder: string, target: string): Promise<Lock> => {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const fresh = await disk.makeDirectory(folder).then(() => true, (error: unknown) => {
      if (hasErrno(error, "EEXIST")) return false
      throw error
    })
    try {
      const lock = await tryLock(disk, folder, target, fresh)
      if (lock) return lock
    } catch (error) {
      if (fresh) await disk.removeDirectory(folder).catch(() => {})
      // The folder was published or discarded under our hands.
      if (!isMissing(error)) throw error
    }
  }
  throw new IoError({ path: folder, operation: "lock", errno: "EBUSY", detail: "other processes keep taking it" })
}

const tryLock = async (disk: DiskCalls, folder: string, target: string, fresh: boolean): Promise<Lock | undefined> => {
  const last = generations(await disk.list(folder))[0] ?? 0
  const previous = last === 0 ? undefined : await readOwner(disk, folder, last)
  if (previous && isHolding(previous)) throw refused(target, folder, previous)
  const owner = thisProcess()
  const path = join(folder, `lock.${last + 1}`)
  try {
    await createLock(disk, folder, last + 1, owner)
  } catch (error) {
    if (hasErrno(error, "EEXIST")) return undefined
    throw error
  }
  // In between, the folder may have become another one of the same name, with a holder of its own.
  const now = generations(await disk.list(folder))
  const before = last === 0 ? undefined : await readOwner(disk, folder, last)
  if (now[0] !== last + 1 || before?.nonce !== previous?.nonce) {
    await disk.remove(path)
    return undefined
  }
  held.add(owner.nonce)
  return {
    owner,
    fresh,
    previous,
    release: async () => {
      held.delete(owner.nonce)
      await disk.remove(path).catch(() => {})
    }
  }
}
