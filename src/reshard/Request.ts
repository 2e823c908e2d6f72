/** What is asked of resharding, and what it says it did. */
import type { Effect } from "effect"
import type { Forecast } from "../convert/unchanged.ts"
import type { StoredChanges } from "../convert/ValueChanges.ts"
import type { ConversionError, JobError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import type { Layout, LayoutRow } from "../parallel/Layout.ts"
import type { RngMode } from "./objects.ts"
import type { WritingRun } from "./writing.ts"

/** What is wanted of resharding. */
export interface ReshardOptions {
  /** The layout wanted; undefined: the one that the checkpoint has. */
  readonly layout: ((componentNames: ReadonlyArray<string>) => Layout) | undefined
  /** Leave the optimizer's state, its groups and schedules behind. */
  readonly dropOptimizer: boolean
  /** Leave everything behind but the weights. */
  readonly onlyModel: boolean
  readonly rng: RngMode
  /** Of random states that are made anew; undefined: the one of the run. */
  readonly seed: number | undefined
  /** What becomes of values on their way. */
  readonly changes?: StoredChanges
}

/** What resharding does, or did. */
export interface ReshardReport {
  readonly source: string
  readonly form: "mimo" | "standard"
  /** The iteration's folder. */
  readonly folder: string
  /** How the checkpoint was cut, as far as it says, and how it is. */
  readonly before: ReadonlyArray<LayoutRow>
  readonly layout: ReadonlyArray<LayoutRow>
  readonly tensors: number
  /** Tensors of the optimizer among them. */
  readonly optimizerTensors: number
  /** In which form the optimizer's state was stored, and in which it is; absent where there is none. */
  readonly optimizer?: { readonly from: string; readonly to: string }
  readonly rng: "kept" | "dropped" | "reseeded" | "none"
  /** Entries that are left behind. */
  readonly dropped: number
  /** Chunks that are cut anew; all others are taken over item by item, or lie in files that stay. */
  readonly recut: number
  readonly files: ReadonlyArray<{ readonly name: string; readonly bytes: number }>
  /** Data files that stay as they are. */
  readonly kept: ReadonlyArray<string>
  readonly linked: number
  readonly cloned: number
  readonly writtenBytes: number
  readonly notes: ReadonlyArray<string>
}

export type { WritingRun as ReshardRun } from "./writing.ts"

/** Resharding that is planned: what it will do, what it will write, and the run itself. */
export interface PreparedReshard {
  readonly report: ReshardReport
  readonly forecast: (target: string, link: boolean) => Effect.Effect<Forecast, ConversionError, Disk>
  readonly run: (target: string, options: WritingRun) => Effect.Effect<ReshardReport, JobError, Disk>
}
