/** What a conversion does, as plain data: printed by `plan`, returned by the library, written by `--json`. */
import type { RankRun } from "../cluster/rankRuns.ts"
import type { LayoutRow } from "../parallel/Layout.ts"
import type { ProcessGroupKind } from "../parallel/ProcessGroups.ts"
import type { CarriedGroup, LeftBehind } from "./accounting.ts"
import type { DType } from "../tensor/DType.ts"
import type { VocabularyPadding } from "./vocabulary.ts"

export interface DtypeChange {
  readonly tensor: string
  readonly from: DType
  readonly to: DType
  /** Keys of an import under which the values are stored. */
  readonly storedAs?: ReadonlyArray<string>
  /**
   * Elements whose value cannot be restored by casting back; known after the run. Of an import, counted over the stored tensors
   * (a key of stacked layers counts those of all its layers).
   */
  readonly changedElements?: number
}

export interface ComponentSummary {
  readonly name: string
  /** Stored tensors (keys) and their bytes. */
  readonly tensors: number
  readonly bytes: number
  /** The layout that an import cuts for; an export reads any. */
  readonly layout?: Omit<LayoutRow, "component">
}

/** What became of quantised tensors. */
export interface QuantizedSummary {
  /** How many tensors of the HF side have which form, e.g. `FP8 E4M3, 128×128 blocks`. */
  readonly forms: ReadonlyArray<{ readonly form: string; readonly tensors: number }>
  /** Written as BF16 values (or what those were cast to). */
  readonly dequantized: ReadonlyArray<string>
  /** Written as the original's own codes and scales: their values have not changed. */
  readonly restored: ReadonlyArray<string>
}

/** What does not train. Sizes are in bytes. */
export interface FrozenSummary {
  /** Parts by name, or patterns of parameters, as they were asked for. */
  readonly asked: ReadonlyArray<string>
  /** Parameters of the model; and the stored tensors (keys) of which nothing trains. */
  readonly parameters: number
  readonly tensors: number
  readonly bytes: number
  /** Fields of the model in `run_config.yaml` that say so. */
  readonly fields: ReadonlyArray<string>
  /** What was asked for and has no such field: a hook of the training script freezes it (`setup sft --freeze` writes one). */
  readonly byHook: ReadonlyArray<string>
}

/** Past the page cache, or through it; `inFlight` blocks beside each other. */
export interface IoWay {
  readonly way: "direct" | "buffered"
  readonly inFlight: number
}

/** How the files on one file system were read, or written. */
export interface IoSummary extends IoWay {
  readonly side: "source" | "target"
  /** Its type and place. */
  readonly fileSystem: string
  /** An earlier run had measured it too. */
  readonly known: boolean
  /** What was tried: bytes moved that way, and bytes per second while any were under way, of this run or remembered. */
  readonly seen: ReadonlyArray<IoWay & { readonly bytes: number; readonly bytesPerSecond: number }>
}

/** What one of several processes writes, before anybody is slow. */
export interface ProcessPlan {
  readonly rank: number
  /** The component of the rank that it stands for, or those whose ranks' files it writes; none in an export. */
  readonly components: ReadonlyArray<string>
  /**
   * Where there are as many processes as ranks in the layout, so that each stands for one: its process groups by Megatron-Core's names,
   * ranks as runs `[first, count, stride]`.
   */
  readonly groups?: Readonly<Partial<Record<ProcessGroupKind, ReadonlyArray<RankRun>>>>
  /** Files, also those in which it has a part. */
  readonly files: ReadonlyArray<string>
  readonly bytes: number
}

/** Who writes what. Sizes are in bytes; memory is what is taken at most. */
export interface ProcessesPlan {
  readonly each: ReadonlyArray<ProcessPlan>
  readonly memoryOfEach: number
  readonly memoryInAll: number
}

/** What a conversion does, or did: components, files, dtype changes, what is carried and what stays behind. Sizes are in bytes. */
export interface ConversionReport {
  readonly direction: "import" | "export"
  readonly form: "mimo" | "standard"
  readonly architecture: string
  readonly family: string
  readonly source: string
  readonly components: ReadonlyArray<ComponentSummary>
  readonly sourceTensors: number
  readonly sourceBytes: number
  readonly targetTensors: number
  readonly targetBytes: number
  /** Payload files and their sizes. */
  readonly files: ReadonlyArray<{ readonly name: string; readonly bytes: number }>
  readonly dtypeChanges: ReadonlyArray<DtypeChange>
  /** Source tensors that are not in the target, each with the reason. */
  readonly leftBehind: ReadonlyArray<LeftBehind>
  /** HF tensors whose own bytes travel beside the model. */
  readonly carried: ReadonlyArray<string>
  /** The same by the reason why they are no part of the Megatron model. */
  readonly carriedBecause: ReadonlyArray<CarriedGroup>
  /** Rows of the vocabulary, where they change: what an import pads (and by which rule), what an export leaves out. */
  readonly vocabulary?: VocabularyPadding | Pick<VocabularyPadding, "from" | "to">
  /** What does not train, where something is frozen. */
  readonly frozen?: FrozenSummary
  /** Absent if nothing is quantised. */
  readonly quantized?: QuantizedSummary
  /** How large files were read and written, where there was something to find out; known after the run. */
  readonly io?: ReadonlyArray<IoSummary>
  /**
   * Files that are read from elsewhere by ranges, so that no whole file passes that could be summed: what every range is held to. `by`: the
   * SHA-256 that the Hub lists, or size and tag (ETag) of the object.
   */
  readonly pinned?: ReadonlyArray<{ readonly file: string; readonly by: string }>
  /** Who writes what, where it was asked for several processes. */
  readonly processes?: ProcessesPlan
  readonly notes: ReadonlyArray<string>
}
