/** What an import is asked for. */
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { Chunk } from "../checkpoint/Placement.ts"
import type { TargetArray } from "../engine/index.ts"
import type { LoadRoute } from "../mimo/loadRoute.ts"
import type { Form } from "../mimo/routing.ts"
import type { Layout } from "../parallel/Layout.ts"
import type { MtpMode, TorchDtype } from "./Options.ts"

export interface ImportOptions {
  /** `auto`: MIMO if the model has more than one component. */
  readonly form: Form | "auto"
  readonly layout: (componentNames: ReadonlyArray<string>) => Layout
  /** The layout in the words of the request: processes of a job compare them. */
  readonly said?: string
  readonly torchDtype: TorchDtype
  readonly mtp: MtpMode
  readonly allowUnmapped: ReadonlyArray<string>
  /** For which loader of a trainer the names are; `hook` by default. */
  readonly loadRoute?: LoadRoute
  /** Default: `torch_dist`. */
  readonly checkpointFormat?: CheckpointFormat
  /** Rows of the vocabulary's tables, zeros behind the model's own. Default: as many as there are, and as tensor parallelism asks for. */
  readonly paddedVocabulary?: number
  /** What does not train: parts by name, or patterns of parameters. It is written into the configuration, and changes no weights. */
  readonly freeze?: ReadonlyArray<string>
  /** Training step that the checkpoint claims; 0 for a converted one. */
  readonly step: number
  /** What becomes of values on their way. */
  readonly changes?: ImportChanges
}

/** `torch_dist`: one checkpoint of the whole model. `tp_rank`: for each module a folder of state dicts, one for each tensor-parallel rank. */
export type CheckpointFormat = "torch_dist" | "tp_rank"

/** What is added to values that an import otherwise only moves. */
export interface ImportChanges {
  readonly chunk: (array: TargetArray, chunk: Chunk<BoundParameter>) => TargetArray
  /** Of HF tensors that travel beside the model; `id` is the name. */
  readonly kept: (array: TargetArray) => TargetArray
}
