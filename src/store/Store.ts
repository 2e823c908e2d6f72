/**
 * Where bytes are read: files by path, whatever holds them. A driver answers four questions and knows no formats; the engine reads
 * all tensor data through it. Writing is not its business: that stays on the local disk, where a rename can commit.
 */

export interface StoredInfo {
  readonly kind: "file" | "directory" | "other"
  /** Bytes. */
  readonly size: number
  /**
   * Equal as long as the content is; another one as soon as it may have changed. Only to be compared with one of the same driver: a
   * disk has inodes and times, a remote store has tags.
   */
  readonly identity: string
}

/** A file that is open for reading. Promises reject with IoError only. */
export interface StoredFile {
  readonly path: string
  readonly info: () => Promise<StoredInfo>
  /** Read from `position` on into `into`, which it may fill in part; 0 at the end of the file and after it. */
  readonly read: (into: Uint8Array, position: number) => Promise<number>
  readonly close: () => Promise<void>
}

export interface ReadOptions {
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
  readonly open: (path: string, options?: ReadOptions) => Promise<StoredFile>
}
