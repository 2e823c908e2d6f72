/**
 * The file system as a service, so that tests can make any single call fail. Only what moving checkpoints needs:
 * positioned reads and writes on reused buffers, fsync of files and directories, atomic rename. Nothing here knows formats.
 *
 * Gotchas: Node's positioned calls misbehave silently (positions that are not safe integers are ignored, reads of 2^31
 * bytes abort the process, short writes leave holes). {@link readFully} and {@link writeFully} are the only way bytes move.
 */
import { Context, Effect, Layer } from "effect"
import { constants } from "node:fs"
import type { BigIntStats } from "node:fs"
import * as fs from "node:fs/promises"
import { IoError, NoSpace } from "../errors.ts"
import { lift } from "./attempt.ts"
import { type FileSystem, LARGEST_TRANSFER, type OpenOptions, type Store, type StoredFile, type StoredInfo } from "../store/Store.ts"
import { errnoOf } from "./errno.ts"
import { mountOf } from "./mountTable.ts"
import { reopening } from "./reopening.ts"

/** What the file system says; `identity` is made of inode, length and the time of the last write, `stamp` also of the ctime. */
export interface FileInfo extends StoredInfo {
  readonly dev: number
  readonly ino: number
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint
  /** Of the last change of content, length, mode, owner, links or mtime. Nobody can set it back. */
  readonly ctimeNs: bigint
}

/** An open file. Promises reject with {@link IoError} or {@link NoSpace} only. */
export interface DiskFile extends StoredFile {
  /** May write fewer bytes than given. */
  readonly write: (from: Uint8Array, position: number) => Promise<number>
  readonly info: () => Promise<FileInfo>
  readonly truncate: (size: number) => Promise<void>
  readonly sync: () => Promise<void>
}

export type OpenMode = "read" | "create" | "readwrite"

/** The calls themselves; every promise rejects with {@link IoError} or {@link NoSpace} only. For reading it is the first driver of {@link Store}. */
export interface DiskCalls extends Store {
  readonly open: (path: string, mode: OpenMode, options?: OpenOptions) => Promise<DiskFile>
  /** Does not follow a final symbolic link. */
  readonly lstat: (path: string) => Promise<FileInfo>
  readonly stat: (path: string) => Promise<FileInfo>
  readonly realpath: (path: string) => Promise<string>
  readonly list: (path: string) => Promise<ReadonlyArray<string>>
  readonly makeDirectory: (path: string) => Promise<void>
  readonly rename: (from: string, to: string) => Promise<void>
  readonly link: (from: string, to: string) => Promise<void>
  /** `target` as it is to stand in the link: absolute, or relative to the link's folder. */
  readonly symbolicLink: (target: string, path: string) => Promise<void>
  /** A copy that shares its blocks with the original until one of them is changed (reflink); rejects where there is no such thing. */
  readonly clone: (from: string, to: string) => Promise<void>
  readonly remove: (path: string) => Promise<void>
  /** Rejects with `ENOTEMPTY` if something is in it. */
  readonly removeDirectory: (path: string) => Promise<void>
  readonly removeTree: (path: string) => Promise<void>
  readonly syncDirectory: (path: string) => Promise<void>
  /** Bytes an unprivileged process may still write there. */
  readonly freeSpace: (path: string) => Promise<number>
}

const OUT_OF_SPACE: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EFBIG"])

/** What a failed call rejects with. */
export const diskError = (path: string, operation: string, errno: string, detail?: string): DiskError =>
  OUT_OF_SPACE.has(errno) ? new NoSpace({ path, needed: 0 }) : new IoError({ path, operation, errno, ...(detail ? { detail } : {}) })

const failed = (path: string, operation: string) => (cause: unknown): never => {
  throw diskError(path, operation, errnoOf(cause), (cause as Error).message?.split("\n")[0])
}

/**
 * With what tells whether it is still the same file. Not its device: that has another number after a restart or a new mount, and two
 * files with the same inode and the same ctime are copies of one file system.
 */
export const identified = (info: Omit<FileInfo, "identity" | "stamp">): FileInfo => {
  const identity = `${info.size} bytes, inode ${info.ino}, modified ${info.mtimeNs}`
  return { ...info, identity, stamp: `${identity}, changed ${info.ctimeNs} (ns)` }
}

const infoOf = (s: BigIntStats): FileInfo => identified({
  kind: s.isFile() ? "file" : s.isDirectory() ? "directory" : s.isSymbolicLink() ? "link" : "other",
  size: Number(s.size),
  dev: Number(s.dev),
  ino: Number(s.ino),
  mtimeNs: s.mtimeNs,
  ctimeNs: s.ctimeNs
})

const EXACT = { bigint: true } as const

/** A call that signals keep interrupting is given up after so many times. */
const MOST_INTERRUPTIONS = 100

/** libuv repeats every interrupted call but read. */
const uninterrupted = async <A>(call: () => Promise<A>): Promise<A> => {
  for (let times = 1;; times++) {
    try {
      return await call()
    } catch (error) {
      if (times === MOST_INTERRUPTIONS || errnoOf(error) !== "EINTR") throw error
    }
  }
}

const nodeFile = (path: string, handle: fs.FileHandle): DiskFile => ({
  path,
  read: (into, position) =>
    uninterrupted(() => handle.read(into, 0, into.byteLength, checkedPosition(position))).then((r) => r.bytesRead, failed(path, "read")),
  write: (from, position) =>
    handle.write(from, 0, from.byteLength, checkedPosition(position)).then((r) => r.bytesWritten, failed(path, "write")),
  info: () => handle.stat(EXACT).then(infoOf, failed(path, "stat")),
  truncate: (size) => handle.truncate(size).catch(failed(path, "truncate")),
  sync: () => handle.sync().catch(failed(path, "fsync")),
  close: () => handle.close().catch(failed(path, "close"))
})

const checkedPosition = (position: number): number => {
  if (!Number.isSafeInteger(position) || position < 0) throw new RangeError(`not a file position: ${position}`)
  return position
}

const FLAGS: Record<OpenMode, number> = {
  // O_NONBLOCK: opening a FIFO that somebody named model.safetensors must not hang.
  read: constants.O_RDONLY | constants.O_NONBLOCK,
  create: constants.O_RDWR | constants.O_CREAT | constants.O_EXCL,
  // Only what this program made is written into, never what a link in its place leads to.
  readwrite: constants.O_RDWR | (constants.O_NOFOLLOW ?? 0)
}

/** Zero where the platform has no such flag (macOS): the file is then read and written as any other. */
const O_DIRECT = constants.O_DIRECT ?? 0

/** File systems that hold files in memory (and `devtmpfs`, which is one of them). */
const IN_MEMORY: ReadonlySet<string> = new Set(["tmpfs", "ramfs", "devtmpfs", "hugetlbfs"])

const fileSystemAt = async (path: string): Promise<FileSystem | undefined> => {
  const real = await fs.realpath(path).catch(failed(path, "realpath"))
  const mount = mountOf(real)
  if (mount === undefined) return undefined
  const { dev } = await fs.stat(real).catch(failed(path, "stat"))
  const { point, source, type } = mount
  return { key: `${dev} ${type} ${source} ${point}`, shown: `${type} at ${point}`, inMemory: IN_MEMORY.has(type) }
}

/** Node's file system. */
export const nodeCalls: DiskCalls = {
  open: (path, mode, { direct = false } = {}) =>
    fs.open(path, FLAGS[mode] | (direct ? O_DIRECT : 0), 0o666).then((h) => nodeFile(path, h), failed(path, "open")),
  lstat: (path) => fs.lstat(path, EXACT).then(infoOf, failed(path, "stat")),
  stat: (path) => fs.stat(path, EXACT).then(infoOf, failed(path, "stat")),
  realpath: (path) => fs.realpath(path).catch(failed(path, "realpath")),
  list: (path) => fs.readdir(path).then((names) => names.sort(), failed(path, "list")),
  makeDirectory: (path) => fs.mkdir(path).catch(failed(path, "mkdir")),
  rename: (from, to) => fs.rename(from, to).catch(failed(to, "rename")),
  link: (from, to) => fs.link(from, to).catch(failed(to, "link")),
  symbolicLink: (target, path) => fs.symlink(target, path).catch(failed(path, "link")),
  clone: (from, to) => fs.copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE_FORCE).catch(failed(to, "clone")),
  remove: (path) => fs.unlink(path).catch(failed(path, "remove")),
  removeDirectory: (path) => fs.rmdir(path).catch(failed(path, "remove")),
  removeTree: (path) => fs.rm(path, { recursive: true, force: true }).catch(failed(path, "remove")),
  syncDirectory: async (path) => {
    const handle = await fs.open(path, constants.O_RDONLY).catch(failed(path, "open"))
    await handle.sync().catch(failed(path, "fsync")).finally(() => handle.close().catch(failed(path, "close")))
  },
  fileSystem: fileSystemAt,
  freeSpace: (path) => fs.statfs(path).then((s) => s.bavail * s.bsize, failed(path, "statfs"))
}

/** The calls as a service. */
export class Disk extends Context.Service<Disk, DiskCalls>()("megatron-mimo/Disk") {
  static readonly layer: Layer.Layer<Disk> = Layer.succeed(Disk, reopening(nodeCalls))
}

export type DiskError = IoError | NoSpace

/** Open for the life of the surrounding scope. */
export const openScoped = (disk: DiskCalls, path: string, mode: OpenMode) =>
  Effect.acquireRelease(lift(() => disk.open(path, mode)), (file) => Effect.promise(() => file.close().catch(() => {})))

/** Write all of `from` at `position`. */
export const writeFully = async (file: DiskFile, from: Uint8Array, position: number): Promise<void> => {
  for (let done = 0; done < from.byteLength;) {
    const part = from.subarray(done, Math.min(from.byteLength, done + LARGEST_TRANSFER))
    const n = await file.write(part, position + done)
    if (n <= 0) throw new IoError({ path: file.path, operation: "write", errno: "ESHORT", detail: "nothing was written" })
    done += n
  }
}
