/** What one writer contributes to a publication: whole files, made from arrays in files that are read. */
import type { TargetFile } from "../engine/index.ts"
import type { SourceState } from "./sources.ts"

export interface Share {
  readonly files: ReadonlyArray<TargetFile>
  /** The files that are read, as they were when the share was planned. */
  readonly states: ReadonlyArray<SourceState>
}
