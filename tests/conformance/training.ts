/**
 * Checkpoints that trainers wrote, with their facts: `training/<name>/checkpoint` and `training/<name>/facts.json`. Made by
 * Megatron-LM's own `save_checkpoint` on CPU; layouts differ, the global tensors do not.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { join } from "node:path"

const directory = fileURLToPath(new URL("./training/", import.meta.url))

/** Path of a checkpoint's parent directory. */
export const trainingCheckpoint = (name: string): string => join(directory, name, "checkpoint")

/** Names of all of them. */
export const trainingNames: ReadonlyArray<string> = readdirSync(directory).sort()

/** Saved on GPUs, without facts; these are too large to lie here. `TRAINED` names a folder of them. */
const trained = process.env["TRAINED"] ?? fileURLToPath(new URL("../../../shared/conformance/gpu-training/", import.meta.url))

/** Parents of those that there are on this machine. */
export const trainedCheckpoints: ReadonlyArray<readonly [name: string, path: string]> = !existsSync(trained)
  ? []
  : readdirSync(trained).sort().map((name) => [name, join(trained, name, "checkpoint")] as const).filter(([, path]) => existsSync(path))

export interface TensorFacts {
  readonly dtype: string
  readonly shape: ReadonlyArray<number>
  readonly sha256: string
}

export interface TrainingFacts {
  /** Of a model without components. */
  readonly layout?: { readonly tp: number; readonly pp: number; readonly dp: number; readonly ep?: number }
  readonly components?: Readonly<Record<string, unknown>>
  readonly tensors: Readonly<Record<string, TensorFacts>>
  /** Of folders of ranks: what they are together, under the keys of `torch_dist`. */
  readonly expectedGlobal?: Readonly<Record<string, TensorFacts>>
  readonly objects: Readonly<Record<string, { readonly content: unknown }>>
  /** What optimizer state of another form is in model space. */
  readonly expectedModelSpace?: Readonly<Record<string, TensorFacts>>
}

export const trainingFacts = (name: string): TrainingFacts => JSON.parse(readFileSync(join(directory, name, "facts.json"), "utf8")) as TrainingFacts
