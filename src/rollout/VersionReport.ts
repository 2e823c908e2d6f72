/** How a version is written, and what is said of it. */
import type { EngineLimits } from "../engine/index.ts"
import type { DeltaEncoding } from "./DeltaWriter.ts"

export interface PublishVersionRun extends EngineLimits {
  /** Go on with what an interrupted run left of a full version. */
  readonly resume?: boolean
  readonly progress?: (bytes: number) => void
  readonly onKept?: (text: string) => void
  readonly onWait?: (text: string) => void
}

/** A version, published or planned. */
export interface VersionReport {
  readonly version: number
  readonly kind: "full" | "delta"
  readonly directory: string
  readonly source: string
  /** The version that a delta is applied to; 0: what engines were started with. */
  readonly base?: number
  readonly encoding?: DeltaEncoding
  readonly tensors: number
  /** Frozen tensors that were taken as they were, where parts are frozen. */
  readonly frozenTensors?: number
  /** Bytes of the whole model. */
  readonly modelBytes: number
  /** Tensors that differ from the version before. */
  readonly changedTensors?: number
  /** Bytes of the version's own files; absent before it is written. */
  readonly bytes?: number
  /** Of them, files that are links to those of an earlier version. */
  readonly linkedBytes?: number
  /** Sum of the whole model. */
  readonly state?: string
  /** Versions that were removed. */
  readonly removed: ReadonlyArray<number>
  readonly notes: ReadonlyArray<string>
}
