/**
 * Proof that two checkpoints hold the same: HF against Megatron, HF against HF, Megatron against Megatron. Both sides are
 * streamed; the mapping is the one that converts, so a tensor counts as equal if converting would give its very bytes.
 */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { openCheckpoint, withKept } from "../space/Checkpoint.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { requireEqualReplicas } from "../checkpoint/legacy/replicas.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import { converting } from "../io/attempt.ts"
import type { TargetArray } from "../engine/index.ts"
import { volume } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { constantComparison } from "../plan/constants.ts"
import { repeatComparison } from "../plan/repeats.ts"
import { exportArray, readExportPlan } from "../plan/ExportDraft.ts"
import { planComparison } from "../plan/planExport.ts"
import { openStoredWeights } from "../space/openStoredWeights.ts"
import { type FilePlace, type SpaceTensor, wholeTensor } from "../space/TensorSpace.ts"
import { openHfModel } from "../space/HfSource.ts"
import { type ComparedSide, comparePairing, type TensorVerdict, type VerificationOptions, type VerifyReport } from "./pairing.ts"

/** An HF model against a Megatron checkpoint of it. */
export const verifyHfMegatron = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, megatronPath: string, options: VerificationOptions) {
  const store = yield* storeInUse
  const { config, weights } = yield* openHfModel(hfModel, families)
  const stored = weights ?? (yield* openStoredWeights(hfModel))
  const checkpoint = yield* openCheckpoint(megatronPath)
  yield* requireEqualReplicas(checkpoint)
  const draft = yield* converting(() => planComparison({ family: families.find(config.json), config, weights: stored, checkpoint }))
  const plan = yield* converting(() => readExportPlan(store, draft))
  const original = plan.original!
  const constants = new Map(plan.constants.map((constant) => [constant.id, constant]))
  const repeats = Map.groupBy(plan.repeats, ({ id }) => id)
  const repeated = [...repeats].map(([id, rows]) => [id, { dtype: rows[0]!.dtype, shape: [rows.length, ...rows[0]!.shape] }] as const)
  const absent = new Map(plan.absentConstants.map(({ id, shape }) => [id, { dtype: plan.tensors.values().next().value?.dtype ?? "F32", shape }] as const))
  const lefts = new Map<string, ComparedSide>([...plan.tensors, ...constants, ...repeated])
  // Stored tensors that no HF tensor is made of are extra, under their own keys.
  for (const { tensor } of plan.report.leftBehind) lefts.set(tensor, checkpoint.tensors.get(tensor)!)
  const report = yield* comparePairing({
    left: checkpoint.directory,
    right: hfModel,
    reference: "right",
    lefts,
    // What an import fills with a constant, or repeats, is the model's, though no HF tensor is made of it.
    rights: new Map<string, ComparedSide>([...original.tensors, ...constants, ...absent, ...repeated]),
    comparisons: (name, dtype) => {
      const constant = constants.get(name)
      if (constant) return [constantComparison(plan, constant)]
      const rows = repeats.get(name)
      if (rows) return rows.map((part) => repeatComparison(plan, part))
      const tensor = plan.tensors.get(name)!
      const values = original.tensors.get(name) ?? original.stored.tensors.get(name)!
      return [{ array: { ...exportArray(plan, tensor), dtype }, with: wholeArray(values, dtype) }]
    },
    notes: plan.report.notes
  }, options)
  const told = ({ name }: TensorVerdict) => (absent.has(name) ? { detail: "an import fills it with zeros; the checkpoint lacks it" } : {})
  return { ...report, tensors: report.tensors.map((verdict) => ({ ...verdict, ...told(verdict) })) } satisfies VerifyReport
})

/** All of a tensor as an array. */
const wholeArray = (tensor: SpaceTensor<FilePlace>, dtype: DType): TargetArray =>
  ({ id: tensor.name, dtype, shape: tensor.shape, copies: () => wholeTensor(tensor) })

/** Two HF checkpoints, tensor by tensor. */
export const verifyHf = Effect.fnUntraced(function*(left: string, right: string, options: VerificationOptions, families?: FamilyRegistry) {
  const a = yield* openStoredWeights(left, families)
  const b = yield* openStoredWeights(right, families)
  return yield* comparePairing({
    left,
    right,
    reference: "left",
    lefts: a.tensors,
    rights: b.tensors,
    comparisons: (name, dtype) => {
      return [{ array: wholeArray(a.tensors.get(name)!, dtype), with: wholeArray(b.tensors.get(name)!, dtype) }]
    },
    notes: []
  }, options)
})

/** Two Megatron checkpoints of one model, whatever their layouts; wrapper prefixes and training state do not count. */
export const verifyMegatron = Effect.fnUntraced(function*(left: string, right: string, options: VerificationOptions) {
  const store = yield* storeInUse
  const [a, b] = [yield* openCheckpoint(left), yield* openCheckpoint(right)]
  const [{ tensors: lefts }, { tensors: rights }] = [withKept(a), withKept(b)]
  const [used, others] = [new ChunkSelection(a.directory), new ChunkSelection(b.directory)]
  for (const [key, tensor] of lefts) if (rights.has(key)) used.add(key, tensor.place.stored)
  for (const [key, tensor] of rights) if (lefts.has(key)) others.add(key, tensor.place.stored)
  const from = yield* converting(() => readChunks(store, used))
  const to = yield* converting(() => readChunks(store, others))
  return yield* comparePairing({
    left: a.directory,
    right: b.directory,
    reference: "left",
    lefts,
    rights,
    *comparisons(key, dtype) {
      const [left, right] = [lefts.get(key)!.place.stored, rights.get(key)!.place.stored]
      for (const chunk of right.chunks) {
        if (volume(chunk.sizes) === 0) continue
        const box = { id: key, dtype, shape: chunk.sizes }
        const copies = () => from.within(left, chunk, key)
        yield { array: { ...box, copies }, with: { ...box, copies: () => to.within(right, chunk, key) } }
      }
    },
    notes: [...a.notes, ...b.notes]
  }, options)
})
