/** What a report page is made of, as plain data. */
import type { ConversionReport } from "../plan/Report.ts"
import type { VerifyReport } from "../verify/pairing.ts"
import type { DiffReport } from "../diff/diff.ts"
import type { Inspection } from "../inspect/Inspection.ts"
import type { Picture } from "./model/pictures.ts"

/**
 * `converted`: into stored tensors; `kept`: its own bytes beside the model; `left`: not in the target, on purpose; `missing`:
 * the mapping names a stored tensor that is not there; `unmapped`: no mapping row knows it.
 */
export type Fate = "converted" | "kept" | "left" | "missing" | "unmapped"

/** One Hugging Face tensor and where it is in the Megatron checkpoint. */
export interface CoverageRow {
  readonly name: string
  readonly bytes: number
  readonly fate: Fate
  /** Mapping kind (`qkv`, `gated`, …), or the reason of what was left behind. */
  readonly how: string
  readonly keys: ReadonlyArray<string>
}

/** Where rows of a parameter are stored (all, without `rows`): in the tensor `key`, from the position `at` on. */
export interface MadePart {
  readonly key: string
  readonly at: ReadonlyArray<number>
  readonly rows?: readonly [start: number, end: number]
}

/** A parameter, what it is made of, and where it is stored. */
export interface Made {
  /** Mapping kind. */
  readonly kind: string
  /** Index in {@link ModelCoverage.pictures}. */
  readonly picture: number
  /** Hugging Face tensors, in the order of the picture's sources. */
  readonly sources: ReadonlyArray<string>
  readonly parts: ReadonlyArray<MadePart>
}

export interface ModelCoverage {
  readonly hf: string
  readonly megatron: string
  readonly rows: ReadonlyArray<CoverageRow>
  /** Stored tensors of the model that no Hugging Face tensor is mapped to. */
  readonly unclaimed: ReadonlyArray<string>
  readonly made: ReadonlyArray<Made>
  readonly pictures: ReadonlyArray<Picture>
}

export interface Page {
  readonly version: string
  /** ISO date; absent on pages that shall be reproducible. */
  readonly made?: string
  /** What was run: `import`, `report` … */
  readonly command: string
  readonly seconds?: number
  /** The conversion and the Megatron checkpoint are planned, nothing was written. */
  readonly planned?: true
  /** With `boxes`, or neither ranks nor chunks are drawn. */
  readonly subjects: ReadonlyArray<Inspection>
  readonly conversion?: ConversionReport
  readonly verify?: VerifyReport
  readonly diff?: DiffReport
  readonly coverage?: ModelCoverage
  /** Why there is no coverage. */
  readonly coverageNote?: string
}
