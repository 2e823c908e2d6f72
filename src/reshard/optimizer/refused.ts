/** Optimizer state that cannot leave the layout that saved it. */
import { Unsupported } from "../../errors.ts"

/** How to have saved it so that any layout loads it. */
const HINT = "--drop optimizer leaves it behind. A trainer saves what any layout can load with --dist-ckpt-optim-fully-reshardable (Megatron-Bridge: checkpoint.dist_ckpt_optim_fully_reshardable)."

export const refusedOptimizer = (what: string, problem: string): Unsupported => new Unsupported({ code: "unsupported/optimizer", what, problem, hint: HINT })
