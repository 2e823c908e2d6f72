/** What works for an architecture, and how it is known. Computed from the families and their test models, never typed in. */
export interface Support {
  readonly architecture: string
  readonly family: string
  readonly import: boolean
  readonly export: boolean
  /** Names of its MIMO components; empty: the model has a single part. */
  readonly components: ReadonlyArray<string>
  /** Dotted names of the reference's provider classes: `_target_` of the run configuration. */
  readonly providers: ReadonlyArray<string>
  /** The reference has a MIMO provider for the family; if not, no released trainer loads the MIMO form yet. */
  readonly trainable: boolean
  /** Multi-token prediction. */
  readonly mtp: boolean
  /** Forms of quantised sources that a test model has. Every family reads the others, too: dequantising lies below the rows. */
  readonly quantized: ReadonlyArray<string>
  /** Committed conformance cases: checkpoints of the reference that are reproduced key by key, and how many of them are MIMO. */
  readonly cases: number
  readonly mimoCases: number
  /** Committed cases that the reference itself cannot import. */
  readonly refusedByReference: number
  /** Further test models, for which only the round trip and the accounting are shown. */
  readonly roundTrips: number
  /** Checkpoints that a trainer saved on GPUs: exported, they compute in transformers what the trainer's model computed there. */
  readonly gpu: ReadonlyArray<string>
  /**
   * Models that transformers itself wrote come back byte for byte; `logits`: and it computes the same with them, bit for bit. Null: it
   * does not have the architecture.
   */
  readonly transformers: "logits" | "bytes" | null
  /** The forward check (`forward`) computes what transformers computes. */
  readonly forward: boolean
}

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`

/** How an architecture is verified, in a few words, the strongest first. */
export const verification = ({ cases, forward, gpu, mimoCases, roundTrips, transformers }: Support): string => [
  ...(cases > 0 ? [counted(cases, "case") + (mimoCases > 0 ? ` (${mimoCases} MIMO)` : "")] : []),
  ...(gpu.length > 0 ? [`${gpu.length} from GPUs`] : []),
  ...(transformers === null ? [] : [transformers]),
  ...(forward ? ["forward"] : []),
  ...(roundTrips > 0 || cases === 0 ? ["round trip"] : [])
].join(", ")
