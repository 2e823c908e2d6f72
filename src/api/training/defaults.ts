/** Requests about training, and their defaults. */
import type { Recompute } from "../../cost/activations.ts"
import { GPUS } from "../../planner/gpus.ts"

/** Names of the GPUs that are known. */
export const knownGpus: ReadonlyArray<string> = Object.keys(GPUS)

export const recomputes = ["none", "selective", "full"] as const satisfies ReadonlyArray<Recompute>
export const launchers = ["srun", "torchrun"] as const

/** The defaults. */
export const TRAINING_DEFAULTS = { seqLength: 4096, globalBatch: 32, gpu: "h100", nodes: 1, gpusPerNode: 8 } as const
