/** What a relabelling is asked for, what it will do, and what it did. */
import type { Effect } from "effect"
import type { RunOptions } from "../convert/produce.ts"
import type { Forecast } from "../convert/unchanged.ts"
import type { ConversionError, JobError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import type { Layout } from "../parallel/Layout.ts"
import type { RelabelTo } from "./rules/index.ts"

export interface RelabelOptions {
  /** One naming after the other. */
  readonly to: ReadonlyArray<RelabelTo>
  /** A config.json of the model; needed where the run configuration does not name a known provider. */
  readonly hfModel?: string
  /** Layout that the run configuration of a MIMO checkpoint gets. */
  readonly layout: (componentNames: ReadonlyArray<string>) => Layout
}

/** What a relabelling does, or did. */
export interface RelabelReport {
  readonly source: string
  readonly to: ReadonlyArray<RelabelTo>
  readonly tensors: number
  /** Keys (of tensors and objects) that are not in the source under the same name. */
  readonly renamed: number
  /** Objects that were supplied. */
  readonly supplied: number
  /** Data files that are linked or copied unchanged, and those that are written anew. */
  readonly kept: ReadonlyArray<string>
  readonly written: ReadonlyArray<string>
  /** Bytes of tensors in new items. */
  readonly movedBytes: number
  readonly dataBytes: number
  readonly linked: number
  /** Data files that are copies sharing their blocks with the source's (reflinks). */
  readonly cloned: number
  /** Bytes that are (or, before it runs, would be, without links) written rather than shared with the source. */
  readonly writtenBytes: number
  readonly notes: ReadonlyArray<string>
}

/** The result has checksums if the source has: those of unchanged files are the source's. */
export interface RelabelRun extends Omit<RunOptions, "checksum"> {
  /** Hard links instead of copies of unchanged files, where the file system can. */
  readonly link: boolean
}

/** A relabelling that is planned: what it will do, what it will write, and the run itself. */
export interface PreparedRelabel {
  readonly report: RelabelReport
  readonly forecast: (target: string, link: boolean) => Effect.Effect<Forecast, ConversionError, Disk>
  readonly run: (target: string, options: RelabelRun) => Effect.Effect<RelabelReport, JobError, Disk>
}
