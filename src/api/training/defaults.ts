/** What a request of training may say, and what holds where it says nothing. */
import type { Recompute } from "../../cost/activations.ts"
import { GPUS } from "../../planner/gpus.ts"

/** Names of the GPUs that are known. */
export const knownGpus: ReadonlyArray<string> = Object.keys(GPUS)

export const recomputes = ["none", "selective", "full"] as const satisfies ReadonlyArray<Recompute>
export const launchers = ["srun", "torchrun"] as const

/** What holds where nothing is said. */
export const TRAINING_DEFAULTS = { seqLength: 4096, globalBatch: 32, gpu: "h100", nodes: 1, gpusPerNode: 8 } as const
