/** What `--overwrite` does not replace. */
import { BACKEND, iterationOf, METADATA, TRACKER, TRAIN_STATE_TRACKER } from "../checkpoint/names.ts"
import { isOfRanks } from "../checkpoint/legacy/rankFolders.ts"
import { CHECKSUMS } from "../publish/integrity/names.ts"

const CHECKPOINT_NAME = /\.safetensors(\.index\.json)?$/
const OTHERS: ReadonlySet<string> = new Set([TRACKER, TRAIN_STATE_TRACKER, METADATA, BACKEND, "config.json", CHECKSUMS])

const isIteration = (name: string): boolean => iterationOf(name) !== undefined || name === "release"

/**
 * Why a directory with these names must not be replaced: it is no checkpoint, or holds iterations besides the one that is
 * written. Undefined if it may.
 */
export const whyNotReplaceable = (names: ReadonlyArray<string>, iteration: string | undefined): string | undefined => {
  const iterations = names.filter(isIteration)
  const others = iterations.filter((name) => name !== iteration)
  if (others.length > 0) return `it holds ${others.length === 1 ? others[0] : `${others.length} iterations`} of a training run`
  return iterations.length > 0 || names.some((name) => OTHERS.has(name) || CHECKPOINT_NAME.test(name) || isOfRanks(name)) ? undefined : "it does not look like a checkpoint"
}
