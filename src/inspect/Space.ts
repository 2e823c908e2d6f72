/**
 * A tensor space of any origin, opened for looking at: names, dtypes, shapes, and which bytes of which file hold what. Only
 * headers are read. Everything `inspect`, `diff` and `doctor` say is said of this.
 */
import type { Checkpoint } from "../checkpoint/Checkpoint.ts"
import type { HfConfig } from "../space/HfSource.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { type Shape, volume } from "../tensor/Copy.ts"
import { bitsOf, type DType } from "../tensor/DType.ts"
import type { StoredChunk } from "../torch/DcpMetadata.ts"
import type { RunConfigMap } from "../runconfig/RunConfigFile.ts"

/**
 * `safetensors`: a file or directory; `megatron`: a torch_dist checkpoint; `items`: one `.distcp` file by itself; `archive`:
 * one file of `torch.save`.
 */
export type SpaceKind = "safetensors" | "megatron" | "items" | "archive"

/** `model`: loaded into the model; `kept`: bytes of HF tensors that travel along; `training`: optimizer state. */
export type Role = "model" | "kept" | "training"

export interface SpaceTensor {
  readonly name: string
  readonly dtype: DType
  /** Global shape. */
  readonly shape: Shape
  /** Of the elements, without the overhead of items. */
  readonly bytes: number
  readonly role: Role
  /** Where it lies: the byte ranges of its chunks (items of a `.distcp`, or the one range of other files). */
  readonly chunks: ReadonlyArray<StoredChunk>
}

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

export interface Space {
  readonly kind: SpaceKind
  /** As it was given. */
  readonly path: string
  /** Where the files are. */
  readonly directory: string
  readonly tensors: ReadonlyMap<string, SpaceTensor>
  readonly objects: ReadonlyArray<SpaceObject>
  readonly files: ReadonlyArray<SpaceFile>
  readonly notes: ReadonlyArray<string>
  readonly form?: "mimo" | "standard"
  /** A Megatron checkpoint that was opened whole. */
  readonly checkpoint?: Checkpoint
  readonly hf?: HfTensors
  readonly hfConfig?: HfConfig
  readonly runConfig?: RunConfigMap
  /** Facts of the common state and of archives: iteration, versions, `content_metadata`. */
  readonly common?: ReadonlyMap<string, string>
  /** Of the tensors of an `items` or `archive` space, by name. */
  readonly places?: ReadonlyMap<string, SpacePlace>
}

/** Bytes that hold the elements of a tensor: where they start, and the strides of a view. */
export interface SpacePlace {
  readonly offset: number
  readonly elements: number
  readonly strides?: ReadonlyArray<number>
  /** The storage that it is a view of, and the CRC-32 stored with that. */
  readonly storage: { readonly start: number; readonly end: number; readonly crc32: number }
}

/** Bytes of the elements; sub-byte dtypes are rounded up. */
export const bytesOfTensor = (dtype: DType, shape: Shape): number => Math.ceil((volume(shape) * bitsOf(dtype)) / 8)
