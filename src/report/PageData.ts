/** What a report page is made of, as plain data. */
import type { ConversionReport } from "../plan/Report.ts"
import type { VerifyReport } from "../verify/verify.ts"
import type { Inspection } from "../inspect/Inspection.ts"

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

export interface Coverage {
  readonly hf: string
  readonly megatron: string
  readonly rows: ReadonlyArray<CoverageRow>
  /** Stored tensors of the model that no Hugging Face tensor is mapped to. */
  readonly unclaimed: ReadonlyArray<string>
}

export interface Page {
  readonly version: string
  /** ISO date; absent on pages that shall be reproducible. */
  readonly made?: string
  /** What was run: `import`, `report` … */
  readonly command: string
  readonly seconds?: number
  /** With `boxes`, or chunk placement is not drawn. */
  readonly subjects: ReadonlyArray<Inspection>
  readonly conversion?: ConversionReport
  readonly verify?: VerifyReport
  readonly coverage?: Coverage
  /** Why there is no coverage. */
  readonly coverageNote?: string
}
