/** Proof that two checkpoints of any kinds hold the same, or that one is as it was written. */
import { Effect } from "effect"
import { dirname, resolve } from "node:path"
import { type DeepOptions, type DeepReport, verifyDeep as deep } from "../verify/deep/deep.ts"
import { verifyHf, verifyHfMegatron, verifyMegatron } from "../verify/verify.ts"
import type { VerificationOptions, VerifyReport } from "../verify/pairing.ts"
import type { BridgeError } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { existing } from "../store/existing.ts"
import { storeToRead } from "../publish/staging/storeToRead.ts"
import { inJob, type Job } from "./job.ts"
import { familiesOf, type WithFamilies } from "./requests.ts"

export type { DeepOptions, DeepReport, VerificationOptions, VerifyReport }

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
    const { families: _, ...options } = request
    const [isLeftHf, isRightHf] = [yield* isHf(left), yield* isHf(right)]
    if (isLeftHf && isRightHf) return yield* verifyHf(left, right, options)
    if (!isLeftHf && !isRightHf) return yield* verifyMegatron(left, right, options)
    const [hf, megatron] = isLeftHf ? [left, right] : [right, left]
    return yield* verifyHfMegatron(familiesOf(request), hf, megatron, options)
  })

/**
 * Read one checkpoint again and compare it with the checksums that were written with it. InvalidFile `integrity/no-checksums`.
 *
 * As one of the processes of a job it reads a share of the files; the report of rank 0 holds what all have found.
 */
export const verifyDeep = (path: string, { job, progress, ...options }: DeepOptions & { readonly job?: Job | undefined } = {}): Effect.Effect<DeepReport, BridgeError, Disk> =>
  job === undefined || job.launch.worldSize === 1
    ? deep(path, { ...options, ...(progress ? { progress } : {}) })
    : inJob(job, { beside: dirname(resolve(path)), plan: "verify --deep", progress }, deep(path, options))
