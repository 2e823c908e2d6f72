/** What file systems that several hosts share do otherwise than local ones. */
import { dirname, resolve, sep } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { hasErrno } from "../store/present.ts"
import type { DiskCalls } from "./Disk.ts"

/** How file systems answer that cannot make a name durable by itself: some FUSE mounts. On NFS the server has done it before it answers. */
const NO_DIRECTORY_SYNC = ["EINVAL", "ENOTSUP", "EOPNOTSUPP"]
const NOT_DURABLE = "this file system cannot make names durable by themselves (fsync of a directory): after a loss of power look whether everything is there"

/** The same calls; where a directory cannot be synced, `syncDirectory` does nothing, and `note` is told. */
export const withoutDirectorySync = (calls: DiskCalls, note: (text: string) => void): DiskCalls => ({
  ...calls,
  syncDirectory: (path) =>
    calls.syncDirectory(path).catch((error: unknown) => {
      if (!hasErrno(error, ...NO_DIRECTORY_SYNC)) throw error
      note(NOT_DURABLE)
    })
})

/** Milliseconds: as long as a client of NFS may remember that a directory has no such name (`acdirmax`), and more. */
const LATEST_NAME = 90_000
const FIRST_PAUSE = 20
const LONGEST_PAUSE = 2_000

/**
 * The same calls for what another host has put below `folder` and has told of: a name that is not there yet is looked for again and again,
 * unless it is in vain because `isOver`.
 */
export const awaitingNames = (calls: DiskCalls, folder: string, isOver: () => boolean, patience = LATEST_NAME): DiskCalls => {
  const below = resolve(folder) + sep
  const patient = async <A>(path: string, call: () => Promise<A>): Promise<A> => {
    const until = performance.now() + (resolve(path).startsWith(below) ? patience : 0)
    for (let wait = FIRST_PAUSE;; wait = Math.min(LONGEST_PAUSE, wait * 2)) {
      try {
        return await call()
      } catch (error) {
        if (!hasErrno(error, "ENOENT") || performance.now() >= until || isOver()) throw error
        // To list a directory is to ask the server for it.
        await calls.list(dirname(path)).catch(() => {})
        await pause(wait)
      }
    }
  }
  return {
    ...calls,
    stat: (path) => patient(path, () => calls.stat(path)),
    lstat: (path) => patient(path, () => calls.lstat(path)),
    open: (path, mode, options) => patient(path, () => calls.open(path, mode, options))
  }
}
