/**
 * A disk on which any single call can go wrong: for tests that walk through every call of a run. It also knows what is open.
 */
import { type DiskCalls, diskError, type DiskFile } from "../../src/io/Disk.ts"

export type Operation = Exclude<keyof DiskCalls, "open"> | "open" | "create" | Exclude<keyof DiskFile, "path">

/** One call, before it is made. */
export interface Call {
  /** Calls are counted from 0, in the order in which they are made. */
  readonly index: number
  readonly operation: Operation
  readonly path: string
}

export interface Fault {
  /** The call is not made and rejects with this. */
  readonly errno?: string
  /** Of a transfer: no more bytes than these. */
  readonly limit?: number
  /** Runs when the call was made, before it returns. */
  readonly after?: () => void
}

export interface FaultyDisk extends DiskCalls {
  /** Every call so far. */
  readonly made: ReadonlyArray<Call>
  /** Paths of the files that are open. */
  readonly opened: () => ReadonlyArray<string>
}

/** `fault` is asked before every call; it may also do things of its own, to the files or to the process. */
export const faultyDisk = (calls: DiskCalls, fault: (call: Call) => Fault | undefined): FaultyDisk => {
  const made: Array<Call> = []
  const open = new Set<DiskFile>()

  const run = async <A>(operation: Operation, path: string, call: (limit: number) => Promise<A>): Promise<A> => {
    const own: Call = { index: made.length, operation, path }
    made.push(own)
    const { after, errno, limit } = fault(own) ?? {}
    if (errno !== undefined) throw diskError(path, operation, errno, "injected")
    const result = await call(limit ?? Number.POSITIVE_INFINITY)
    after?.()
    return result
  }

  const wrap = (file: DiskFile): DiskFile => {
    const wrapped: DiskFile = {
      path: file.path,
      read: (into, position) => run("read", file.path, (limit) => file.read(into.subarray(0, limit), position)),
      write: (from, position) => run("write", file.path, (limit) => file.write(from.subarray(0, limit), position)),
      info: () => run("info", file.path, () => file.info()),
      truncate: (size) => run("truncate", file.path, () => file.truncate(size)),
      sync: () => run("sync", file.path, () => file.sync()),
      // A close that fails has closed the file all the same (close(2)).
      close: () => {
        open.delete(wrapped)
        return run("close", file.path, async () => {}).finally(() => file.close())
      }
    }
    open.add(wrapped)
    return wrapped
  }

  return {
    made,
    opened: () => [...open].map((file) => file.path),
    open: (path, mode, options) => run(mode === "create" ? "create" : "open", path, async () => wrap(await calls.open(path, mode, options))),
    lstat: (path) => run("lstat", path, () => calls.lstat(path)),
    stat: (path) => run("stat", path, () => calls.stat(path)),
    realpath: (path) => run("realpath", path, () => calls.realpath(path)),
    list: (path) => run("list", path, () => calls.list(path)),
    makeDirectory: (path) => run("makeDirectory", path, () => calls.makeDirectory(path)),
    rename: (from, to) => run("rename", to, () => calls.rename(from, to)),
    link: (from, to) => run("link", to, () => calls.link(from, to)),
    symbolicLink: (target, path) => run("link", path, () => calls.symbolicLink(target, path)),
    clone: (from, to) => run("clone", to, () => calls.clone(from, to)),
    remove: (path) => run("remove", path, () => calls.remove(path)),
    removeDirectory: (path) => run("removeDirectory", path, () => calls.removeDirectory(path)),
    removeTree: (path) => run("removeTree", path, () => calls.removeTree(path)),
    syncDirectory: (path) => run("syncDirectory", path, () => calls.syncDirectory(path)),
    freeSpace: (path) => run("freeSpace", path, () => calls.freeSpace(path))
  }
}
