/** A tensor space with what else was found where it was opened. Everything `inspect`, `diff` and `doctor` say is said of this. */
import type { TrainingArguments } from "../arguments/TrainingArguments.ts"
import type { Checkpoint } from "./Checkpoint.ts"
import type { RunConfigMap } from "../runconfig/RunConfigFile.ts"
import type { HfConfig } from "./HfSource.ts"
import type { StoredWeights } from "./StoredWeights.ts"
import type { SpaceTensor, TensorSpace } from "./TensorSpace.ts"

/**
 * `safetensors`: a file or directory; `megatron`: a torch_dist checkpoint; `items`: one `.distcp` file by itself; `archive`:
 * one file of `torch.save`.
 */
export type SpaceKind = "safetensors" | "megatron" | "items" | "archive"

export interface SpaceObject {
  readonly key: string
  readonly file: string
  readonly offset: number
  readonly length: number
}

export interface SpaceFile {
  readonly name: string
  readonly bytes: number
}

/** What a reader of one format finds. */
export interface UnroutedSpace extends TensorSpace {
  readonly kind: SpaceKind
  /** As it was given. */
  readonly path: string
  /** Where the files are. */
  readonly directory: string
  readonly objects: ReadonlyArray<SpaceObject>
  readonly files: ReadonlyArray<SpaceFile>
  readonly notes: ReadonlyArray<string>
  readonly form?: "mimo" | "standard"
  /** A Megatron checkpoint that was opened whole. */
  readonly checkpoint?: Checkpoint
  readonly hf?: StoredWeights
  readonly hfConfig?: HfConfig
  readonly runConfig?: RunConfigMap
  /** Of the run that wrote a Megatron checkpoint, where it has put them there. */
  readonly arguments?: TrainingArguments
  /** Facts of the common state and of archives: iteration, versions, `content_metadata`. */
  readonly common?: ReadonlyMap<string, string>
}

/** What stands for the component of training state, which is no part of the model. */
export const TRAINING = "training"

export interface OpenedTensor extends SpaceTensor {
  /** Component of the model, or {@link TRAINING}. */
  readonly component: string
}

/** A space whose tensors know what component they belong to. */
export interface OpenedSpace extends UnroutedSpace {
  readonly tensors: ReadonlyMap<string, OpenedTensor>
}
