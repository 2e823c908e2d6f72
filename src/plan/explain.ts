/** Plans that fail because the files are something else than a plain model: the refusal says what they are. */
import { shellRelabel } from "../checkpoint/shell.ts"
import type { Checkpoint } from "../space/Checkpoint.ts"
import { InvalidFile, PlanRefused, Unsupported } from "../errors.ts"
import { configHints, recogniseHfTensors } from "../recognise/hfTensors.ts"
import { recogniseMegatronKeys } from "../recognise/megatronKeys.ts"
import { type Recognised, refusal, remark } from "../recognise/Recognised.ts"
import type { HfConfig } from "../space/HfSource.ts"
import { fileOf, type StoredWeights } from "../space/StoredWeights.ts"

/** Errors that may have such a cause; a flag that makes no sense has none. */
const mayBeElse = (error: unknown): boolean =>
  error instanceof PlanRefused || error instanceof Unsupported || (error instanceof InvalidFile && /^(config|quantized)\//.test(error.code))

/** A head beside a sound model is no reason for anything but that the head itself would be lost. */
const explains = (found: Recognised, error: unknown): boolean =>
  found.kind !== "value-head" || (error instanceof PlanRefused && error.code === "plan/unmapped")

const orElse = <A>(plan: () => A, recognise: () => Recognised | undefined, refused: (found: Recognised) => Unsupported): A => {
  try {
    return plan()
  } catch (error) {
    const found = mayBeElse(error) ? recognise() : undefined
    throw found && explains(found, error) ? refused(found) : error
  }
}

/** What a Hugging Face directory is, if not a plain model. */
export const recogniseHf = (weights: StoredWeights, config: HfConfig): Recognised | undefined =>
  recogniseHfTensors([...weights.tensors.keys()], configHints(config.json))

/** Run a plan that reads `weights`; if it is refused because they are no plain model, say what they are. */
export const explainingHf = <A>(weights: StoredWeights, config: HfConfig, plan: () => A): A =>
  orElse(plan, () => recogniseHf(weights, config), (found) => refusal(fileOf(weights), found))

/** The same for a plan that reads a Megatron checkpoint. */
export const explainingMegatron = <A>(checkpoint: Checkpoint, plan: () => A): A =>
  orElse(plan, () => recogniseMegatronKeys([...checkpoint.tensors.keys()]), (found) =>
    refusal(checkpoint.directory, found, found.relabel && shellRelabel(checkpoint.directory, found.relabel)))

/** For a comparison, which goes on with what there is. */
export const remarksOn = (checkpoint: Checkpoint): ReadonlyArray<string> => {
  const found = recogniseMegatronKeys([...checkpoint.tensors.keys()])
  return found ? [remark(checkpoint.directory, found)] : []
}
