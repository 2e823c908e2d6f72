/** Proof that two checkpoints of any kinds hold the same, or that one is as it was written. */
import { Effect } from "effect"
import type { VerificationOptions, VerifyReport } from "../verify/pairing.ts"
import { verifyHf, verifyHfMegatron, verifyMegatron } from "../verify/verify.ts"
import type { BridgeError } from "../errors.ts"
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
  if (path.endsWith(".safetensors") || path.endsWith(".safetensors.index.json")) return true
  const store = yield* storeToRead(path)
  const names = yield* reading(async (): Promise<ReadonlyArray<string>> => (await existing(store, path)).kind === "directory" ? store.list(path) : [])
  return names.includes("config.json") || names.some((n) => n.endsWith(".safetensors"))
})

/**
 * Compare two checkpoints, tensor by tensor: two of a kind, or a Hugging Face model and a Megatron checkpoint of it through the family's
 * mapping. Both are streamed, in constant memory.
 */
export const verify = (left: string, right: string, request: VerificationOptions & WithFamilies = {}): Effect.Effect<VerifyReport, BridgeError, Disk> =>
  Effect.gen(function*() {
    const { families: _, ...asked } = request
    const options = { ...farAway(left, right), ...asked }
    const [isLeftHf, isRightHf] = [yield* isHf(left), yield* isHf(right)]
    if (isLeftHf && isRightHf) return yield* verifyHf(left, right, options)
    if (!isLeftHf && !isRightHf) return yield* verifyMegatron(left, right, options)
    const [hf, megatron] = isLeftHf ? [left, right] : [right, left]
    return yield* verifyHfMegatron(familiesOf(request), hf, megatron, options)
  })
