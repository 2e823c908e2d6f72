/** What becomes of adapters, as plain data: printed, returned by the library, written by `--json`. */
import type { AdapterForm } from "../runconfig/adapterSection.ts"

/** An adapter as both worlds know it. */
export interface AdapterSummary {
  /** As the trainer's classes tell them apart; `lora`, too, of a directory of `peft`, unless it is DoRA. */
  readonly form: AdapterForm
  readonly rank: number
  readonly alpha: number
  readonly dropout: number
  /** Matrices of the Hugging Face model that have an adapter; packed experts count as one. */
  readonly matrices: number
  readonly parameters: number
  readonly targetModules: ReadonlyArray<string>
  readonly targetParameters: ReadonlyArray<string>
  /** Other ranks than `rank`, by modules. */
  readonly ranks: ReadonlyArray<{ readonly module: string; readonly rank: number }>
}

/** What an export or import of adapters does, or did. Sizes are in bytes. */
export interface AdapterReport {
  readonly direction: "export" | "import"
  readonly architecture: string
  readonly family: string
  readonly form: "mimo" | "standard"
  readonly source: string
  readonly adapter: AdapterSummary
  readonly sourceTensors: number
  readonly targetTensors: number
  readonly files: ReadonlyArray<{ readonly name: string; readonly bytes: number }>
  readonly notes: ReadonlyArray<string>
}
