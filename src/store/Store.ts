/**
 * Where bytes are read: files by path, whatever holds them. A driver answers five questions and knows no formats; whoever opens or reads
 * a model or a checkpoint does it through one. The local disk is a driver; nothing here depends on its inodes and times.
 */
import { IoError } from "../errors.ts"

export interface StoredInfo {
  readonly kind: "file" | "directory" | "link" | "other"
  /** Bytes. */
  readonly size: number
  /**
   * Which file it is, as it was last written. Only to be compared with one of the same driver: a disk has inodes and times, a remote
   * store has tags. May stay the same where somebody has put the time of a write back.
   */
  readonly identity: string
  /** Another one as soon as the content may have changed, and perhaps where only links or modes did. */
  readonly stamp: string
}

/** A file as it was when it was looked at: to find out whether it is still the one that was read. */
export type StoredState = Pick<StoredInfo, "size" | "identity" | "stamp">

export const storedState = ({ identity, size, stamp }: StoredInfo): StoredState => ({ size, identity, stamp })

/** A file that is open for reading. Promises reject with IoError only. */
export interface StoredFile {
  readonly path: string
  /** Every read is a request to another machine: there is no page cache to ask, and each costs its way there and back. */
  readonly remote?: boolean
  readonly info: () => Promise<StoredInfo>
  /** Read from `position` on into `into`, which it may fill in part; 0 at the end of the file and after it. */
  readonly read: (into: Uint8Array, position: number) => Promise<number>
  readonly close: () => Promise<void>
}

/** What holds files. */
export interface FileSystem {
  /** Tells it from others on this machine, also after a restart. */
  readonly key: string
  /** For people: type and place. */
  readonly shown: string
  /** There is no disk behind it: past a page cache is nowhere. */
  readonly inMemory: boolean
}

export interface OpenOptions {
  /**
   * Past the page cache, where there is one: memory, positions and lengths are multiples of 4096. What cannot do that rejects with
   * `EINVAL`, here or at the first read.
   */
  readonly direct?: boolean
}

/** Promises reject with IoError only; `ENOENT` for what is not there. */
export interface Store {
  /** Names in a directory, sorted; `ENOTDIR` for a file. */
  readonly list: (path: string) => Promise<ReadonlyArray<string>>
  /** Links are followed. */
  readonly stat: (path: string) => Promise<StoredInfo>
  /** A final link is not followed. */
  readonly lstat: (path: string) => Promise<StoredInfo>
  /** The path without links; the path itself in a store that has none. */
  readonly realpath: (path: string) => Promise<string>
  readonly open: (path: string, mode: "read", options?: OpenOptions) => Promise<StoredFile>
  /** What holds `path`, which exists; undefined, or absent, where it cannot be told. */
  readonly fileSystem?: (path: string) => Promise<FileSystem | undefined>
}

/** No single read or write is larger than this (Node aborts at 2^31). */
export const LARGEST_TRANSFER = 1 << 30

/** Fill `into` from `position`; an {@link IoError} `ESHORT` if the file ends first. */
export const readFully = async (file: Pick<StoredFile, "path" | "read">, into: Uint8Array, position: number): Promise<void> => {
  for (let done = 0; done < into.byteLength;) {
    const part = into.subarray(done, Math.min(into.byteLength, done + LARGEST_TRANSFER))
    const n = await file.read(part, position + done)
    if (n === 0) {
      throw new IoError({
        path: file.path,
        operation: "read",
        errno: "ESHORT",
        detail: `the file ended at byte ${position + done}, ${into.byteLength - done} more were expected`
      })
    }
    done += n
  }
}
