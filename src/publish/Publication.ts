/** The next content of one target while it is written: what the engine writes into it, small files, and the commit. */
import type { EngineOptions, ExecuteOptions } from "../engine/index.ts"
import type { FileInfo } from "../io/Disk.ts"
import type { HubUploadOptions } from "../remote/hub/HubUpload.ts"
import type { Sink } from "../store/Sink.ts"
import type { Recorder } from "./integrity/Recorder.ts"
import type { Fingerprint } from "./journal/Fingerprint.ts"
import type { Share } from "./Share.ts"
import type { StagedContent } from "./staging/StagedFiles.ts"
import type { Permission } from "./staging/target.ts"

export interface PublicationOptions {
  /** Replace an existing target, at the moment of the commit. */
  readonly overwrite: boolean
  /** Go on with what an interrupted run of the same job left. */
  readonly resume?: boolean | undefined
  /** Bytes that will be written. */
  readonly size: number
  /** Directories that are read: the target must not be or contain one. */
  readonly sources?: ReadonlyArray<string>
  /** Why `overwrite` must not replace a directory with these names; undefined: it may. */
  readonly notReplaceable?: Permission["notReplaceable"]
  /** Write checksums of everything with it. */
  readonly checksums?: boolean
  /** How a repository of the Hub is written. */
  readonly hub?: HubUploadOptions | undefined
  /** The directory that is filled goes elsewhere: who takes it, and what it is called. What is said of that comes into the notes. */
  readonly elsewhere?: { readonly shown: string; readonly deliver: (directory: string, names: ReadonlyArray<string>) => Promise<string> }
  /** Makes the work resumable. */
  readonly job?: {
    readonly identity: Fingerprint
    /** Where in the directory its files are: a relative path, empty for the directory itself. */
    readonly folder: string
    readonly engine: EngineOptions
  }
}

/** What writers and the commit need of a publication; where it is written depends on its kind. */
export interface Publication {
  /** What will be in the target: the commit publishes exactly that. */
  readonly staged: StagedContent
  /** Writes the small files, and sums of everything. */
  readonly recorder: Recorder
  /** What was staged, by whichever writer. */
  readonly shares: Array<Share>
  /** Where writers put the files of the job. Its commit gives the target the new content. */
  readonly sink: Sink<FileInfo>
  /** For the engine. */
  readonly execution: Pick<ExecuteOptions, "earlier" | "onFile" | "onWindow"> & EngineOptions
  /** What the report should say. */
  readonly notes: ReadonlyArray<string>
  /** A directory of this machine: that of the files, or, where none of them are written here, of what is remembered of them. */
  readonly directory: string
  /** Digest of the content that the job is made from; undefined: there is no job. */
  readonly content: string | undefined
  readonly isPublished: boolean
  /**
   * End the run. Unless it was published, its work is kept if there is any and it is not `useless`.
   *
   * @returns what to tell the user about what was kept.
   */
  readonly close: (useless: boolean) => Promise<string | undefined>
}
