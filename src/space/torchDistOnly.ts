/** What is done to a checkpoint's own files, not to its model: only `torch_dist` has them. */
import { Unsupported } from "../errors.ts"
import type { Checkpoint } from "./Checkpoint.ts"

/** Throws Unsupported `unsupported/legacy` for folders of ranks, `unsupported/plain-dcp` for plain DCP, each with what makes `torch_dist` of it. */
export const requireTorchDist = ({ directory, plainDcp, ranks }: Checkpoint): void => {
  if (ranks) {
    throw new Unsupported({ code: "unsupported/legacy", what: directory, problem: "holds a folder for each rank (the torch format), which only their own layout can load", hint: "relabel --to torch-dist writes it in the format that any layout loads; go on with that." })
  }
  if (plainDcp) {
    throw new Unsupported({ code: "unsupported/plain-dcp", what: directory, problem: "is a checkpoint of plain DCP (fsdp_dtensor, torch_dcp), of which only the weights are read", hint: "For its weights: export, then import what that writes for the layout that is wanted. With its optimizer: load it with the trainer that wrote it and save it with --ckpt-format torch_dist." })
  }
}
