/** Proof that two checkpoints of any kinds hold the same, or that one is as it was written. */
import { assemblyAt } from "../space/Assembly.ts"
import { Effect } from "effect"
import type { VerificationOptions, VerifyReport } from "../verify/pairing.ts"
import { verifyHf, verifyHfMegatron, verifyMegatron } from "../verify/verify.ts"
import { type JobError, UsageError } from "../errors.ts"
import { isAdapterKey } from "../model/adapterKey.ts"
import { isPeftDirectory, peftPartsOf } from "../adapters/PeftDirectory.ts"
import { openSpace } from "../space/openSpace.ts"
import { verifyAdapters, verifyScales } from "../verify/adapters.ts"
import { reading } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { farAway } from "../remote/place.ts"
import { existing } from "../store/existing.ts"
import { storeToRead } from "../publish/staging/storeToRead.ts"
import { familiesOf, type WithFamilies } from "./requests.ts"

export { type DeepOptions, type DeepReport, verifyDeep } from "../verify/deep/deep.ts"
export type { VerificationOptions, VerifyReport }

/** A path with a config.json or safetensors is a Hugging Face model, anything else is taken for a Megatron checkpoint. */
const isHf = Effect.fnUntraced(function*(path: string) {
  if (assemblyAt(path) || path.endsWith(".safetensors") || path.endsWith(".safetensors.index.json")) return true
  const store = yield* storeToRead(path)
  const names = yield* reading(async (): Promise<ReadonlyArray<string>> => (await existing(store, path)).kind === "directory" ? store.list(path) : [])
  return names.includes("config.json") || names.some((n) => n.endsWith(".safetensors"))
})

/** What is known besides the two paths. */
export interface VerifyRequest extends VerificationOptions, WithFamilies {
  /** The base model of adapters, where a directory of `peft` is compared with a Megatron checkpoint. */
  readonly hfModel?: string
}

/**
 * Compare two checkpoints, tensor by tensor: two of a kind, or a Hugging Face model (or a directory of `peft`) and a Megatron checkpoint
 * of it through the family's mapping. Both are streamed, in constant memory.
 */
export const verify = (left: string, right: string, request: VerifyRequest = {}): Effect.Effect<VerifyReport, JobError, Disk> =>
  Effect.gen(function*() {
    const { families: _, hfModel, ...asked } = request
    const options = { ...farAway(left, right), ...asked }
    const [isLeftHf, isRightHf] = [yield* isHf(left), yield* isHf(right)]
    if (isLeftHf === isRightHf) {
      const report = yield* isLeftHf ? verifyHf(left, right, options) : verifyMegatron(left, right, options)
      if (!report.tensors.some(({ name }) => isAdapterKey(name) || peftPartsOf(name) !== undefined)) return report
      const [a, b] = [yield* openSpace(left), yield* openSpace(right)]
      return yield* verifyScales(report, a, b)
    }
    const [hf, megatron] = isLeftHf ? [left, right] : [right, left]
    if (!assemblyAt(hf) && (yield* isPeftDirectory(hf))) {
      if (hfModel === undefined) return yield* new UsageError({ problem: `${hf} is an adapter, whose matrices have their place in a checkpoint by its base model`, hint: "--hf-model BASE beside the two paths; its config.json is enough." })
      return yield* verifyAdapters(familiesOf(request), hfModel, hf, megatron, options)
    }
    return yield* verifyHfMegatron(familiesOf(request), hf, megatron, options)
  })
