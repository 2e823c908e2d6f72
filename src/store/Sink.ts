/**
 * Where files are written, whatever will hold them. Files come into being one by one and in any order of their bytes; the whole is there
 * for others with the commit, which comes last.
 */
import type { StoredInfo } from "./Store.ts"

/** The bytes [start, end) of what is written. */
export interface Hole {
  readonly start: number
  readonly end: number
}

/** A file being written. Promises reject with IoError or NoSpace only. */
export interface SinkFile<Info extends StoredInfo = StoredInfo> {
  /**
   * Write `size` bytes at `position`, a multiple of 4096. `room` is page-aligned memory that begins with them and reaches to the end of
   * their last page. `direct`: past a page cache, where there is one and the file can; it may differ from call to call.
   *
   * @returns whether it went past a page cache.
   */
  readonly write: (room: Uint8Array, size: number, position: number, direct: boolean) => Promise<boolean>
  /** Make durable what was written so far, as {@link SinkFile.finish} does it for all. */
  readonly sync: () => Promise<void>
  /** The same without some ranges of the bytes, ascending: what is in the file there stays, whoever writes it and when. */
  readonly writeAround: (room: Uint8Array, size: number, position: number, holes: ReadonlyArray<Hole>) => Promise<void>
  /** All is written: make it durable and close it. What it then is; undefined where others still write to it. */
  readonly finish: () => Promise<Info | undefined>
  /** Close it, finished or not; never fails. */
  readonly abandon: () => Promise<void>
}

export interface NewFile {
  /** Relative to the sink. */
  readonly name: string
  readonly size: number
  /** It may have been begun before; its content is kept. */
  readonly begun: boolean
  /** It is there in its full size, and others write to it as well. */
  readonly shared: boolean
}

export interface Sink<Info extends StoredInfo = StoredInfo> {
  /** There is no disk behind it whose way of writing could be found out. */
  readonly remote?: boolean
  /** `EEXIST` if the name is taken, unless the file was begun before or is shared. */
  readonly create: (file: NewFile) => Promise<SinkFile<Info>>
  /** Make the whole visible. Called once, when every file is finished; nothing can be created after it. */
  readonly commit: () => Promise<void>
}
