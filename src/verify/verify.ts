/**
 * Proof that two checkpoints hold the same: HF against Megatron, HF against HF, Megatron against Megatron. Both sides are
 * streamed; the mapping is the one that converts, so a tensor counts as equal if converting would give its very bytes.
 */
import { storeInUse } from "../io/storeInUse.ts"
import { Effect, Stream } from "effect"
import { z } from "zod"
import { tellingProgress } from "../cluster/progress.ts"
import { currentWorld } from "../cluster/single.ts"
import { eachUnit, type WorldCalls } from "../cluster/World.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type Checkpoint, openCheckpoint } from "../checkpoint/Checkpoint.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readChunks } from "../checkpoint/StoredArrays.ts"
import { compare, type Compared, type Comparison, type EngineLimits } from "../engine/index.ts"
import { attempt } from "../io/attempt.ts"
import { identity, sameShape, type Shape, volume } from "../tensor/Copy.ts"
import { bytesOf, type DType } from "../tensor/DType.ts"
import { constantComparison } from "../plan/constants.ts"
import { repeatComparison } from "../plan/repeats.ts"
import { exportArray, readExportPlan } from "../plan/ExportDraft.ts"
import { planComparison } from "../plan/planExport.ts"
import { storedArray } from "../space/HfWeights.ts"
import { wholeTensor } from "../space/TensorSpace.ts"
import { openHfModel } from "../space/HfSource.ts"
import { openSafetensors } from "../safetensors/SafetensorsDirectory.ts"

export interface TensorVerdict {
  readonly name: string
  readonly status: "equal" | "different" | "missing" | "extra"
  /** What differs besides values: `BF16 instead of F32`, `[2,3] instead of [3,2]`. */
  readonly detail?: string
  readonly elements?: number
  readonly differing?: number
  readonly maxAbsDiff?: number
  readonly firstDifference?: Compared["firstDifference"]
}

/** How two checkpoints compare, tensor by tensor. */
export interface VerifyReport {
  readonly left: string
  readonly right: string
  readonly equal: number
  /** Tensors of both sides together. */
  readonly total: number
  readonly bytes: number
  /** Every tensor that is not equal; with `all`, every tensor. */
  readonly tensors: ReadonlyArray<TensorVerdict>
  readonly notes: ReadonlyArray<string>
}

export interface VerificationOptions extends EngineLimits {
  readonly progress?: (bytes: number) => void
  /** Called once it is known how many bytes will be compared. */
  readonly onSize?: (bytes: number) => void
}

interface Side {
  readonly dtype: DType
  readonly shape: Shape
}

interface Pairing {
  readonly left: string
  readonly right: string
  /** The side that says what there should be: a tensor only there is missing from the other. */
  readonly reference: "left" | "right"
  readonly lefts: ReadonlyMap<string, Side>
  readonly rights: ReadonlyMap<string, Side>
  /** The comparisons that together hold `name` of the left, in the right's dtype, against the right's own. */
  readonly comparisons: (name: string, dtype: DType) => Iterable<Comparison>
  readonly notes: ReadonlyArray<string>
}

const run = (pairing: Pairing, options: VerificationOptions) =>
  Effect.gen(function*() {
    const { lefts, rights } = pairing
    const verdicts = new Map<string, TensorVerdict>()
    const common: Array<string> = []
    const [onlyLeft, onlyRight] = pairing.reference === "left" ? (["missing", "extra"] as const) : (["extra", "missing"] as const)
    for (const [name, left] of lefts) {
      const right = rights.get(name)
      if (!right) verdicts.set(name, { name, status: onlyLeft, detail: `only in ${pairing.left}` })
      else if (!sameShape(left.shape, right.shape)) verdicts.set(name, { name, status: "different", detail: `[${left.shape}] and [${right.shape}]` })
      else common.push(name)
    }
    for (const name of rights.keys()) if (!lefts.has(name)) verdicts.set(name, { name, status: onlyRight, detail: `only in ${pairing.right}` })
    const bytes = common.reduce((sum, name) => sum + volume(rights.get(name)!.shape) * bytesOf(rights.get(name)!.dtype), 0)
    options.onSize?.(bytes)

    const world = yield* currentWorld
    const sizeOf = (name: string): number => volume(rights.get(name)!.shape) * bytesOf(rights.get(name)!.dtype)
    const judge = (found: Compared): void => {
      verdicts.set(found.id, combine(verdicts.get(found.id), found, lefts.get(found.id)!.dtype, rights.get(found.id)!.dtype))
    }
    const compared = (names: ReadonlyArray<string>, each: (found: Compared) => void) => {
      const queue = function*() {
        for (const name of names) yield* pairing.comparisons(name, rights.get(name)!.dtype)
      }
      return compare(queue(), options).pipe(Stream.runForEach((found) => Effect.sync(() => {
        const done = found.elements * bytesOf(rights.get(found.id)!.dtype)
        if (world.size === 1) options.progress?.(done)
        world.progress(done)
        each(found)
      })))
    }
    if (world.size === 1) yield* compared(common, judge)
    else yield* tellingProgress(world, options.progress ?? (() => {}), judgedTogether(world, grouped(common, sizeOf, world.size), compared, judge))
    const all = [...verdicts.values()]
    return {
      left: pairing.left,
      right: pairing.right,
      equal: all.filter((v) => v.status === "equal").length,
      total: all.length,
      bytes,
      tensors: all,
      notes: pairing.notes
    } satisfies VerifyReport
  })

/** Tensors that are compared by one process, in a row. */
interface NamesOf {
  readonly names: Array<string>
  bytes: number
}

/** Neighbours in groups of some bytes: enough of them that all processes have equally much to do, no more than {@link MOST_NAMES} names. */
const grouped = (names: ReadonlyArray<string>, sizeOf: (name: string) => number, processes: number): ReadonlyArray<NamesOf> => {
  const total = names.reduce((sum, name) => sum + sizeOf(name), 0)
  const groups: Array<NamesOf> = []
  for (const name of names) {
    let last = groups.at(-1)
    if (last === undefined || last.bytes >= total / processes / GROUPS_EACH || last.names.length >= MOST_NAMES) groups.push(last = { names: [], bytes: 0 })
    last.names.push(name)
    last.bytes += sizeOf(name)
  }
  return groups
}

const GROUPS_EACH = 4
/** What a group finds has to fit into a message, even where every tensor differs. */
const MOST_NAMES = 1000

/** Infinity is no JSON. */
const distance = z.union([z.number(), z.literal("Infinity")])
const foundSchema = z.array(z.object({
  id: z.string(),
  elements: z.int(),
  differing: z.int(),
  maxAbsDiff: distance.optional(),
  firstDifference: z.object({ element: z.int(), assembled: z.string(), stored: z.string() }).optional()
}))

/** Every process compares the groups that it gets; the first one judges what all have found. */
const judgedTogether = <E, R>(
  world: WorldCalls,
  groups: ReadonlyArray<NamesOf>,
  compared: (names: ReadonlyArray<string>, each: (found: Compared) => void) => Effect.Effect<void, E, R>,
  judge: (found: Compared) => void
) =>
  Effect.gen(function*() {
    yield* world.agree("the tensors to compare", JSON.stringify([groups.length, groups.reduce((sum, { bytes }) => sum + bytes, 0)]))
    const work = world.work("compare", groups.map(({ bytes }) => bytes), foundSchema)
    yield* eachUnit(work, (unit) => {
      const found: Array<z.infer<typeof foundSchema>[number]> = []
      return Effect.as(compared(groups[unit]!.names, ({ differing, elements, firstDifference, id, maxAbsDiff }) => {
        found.push({
          id, elements, differing,
          ...(maxAbsDiff === undefined ? {} : { maxAbsDiff: maxAbsDiff === Infinity ? "Infinity" as const : maxAbsDiff }),
          ...(firstDifference ? { firstDifference } : {})
        })
      }), found)
    })
    for (const { maxAbsDiff, firstDifference, ...own } of (yield* work.results())?.flat() ?? []) {
      judge({ ...own, equal: own.differing === 0, ...(maxAbsDiff === undefined ? {} : { maxAbsDiff: Number(maxAbsDiff) }), ...(firstDifference ? { firstDifference } : {}) })
    }
  })

/** One tensor may be compared in several boxes. */
const combine = (before: TensorVerdict | undefined, found: Compared, left: DType, right: DType): TensorVerdict => {
  const differing = (before?.differing ?? 0) + found.differing
  const maxAbsDiff = Math.max(before?.maxAbsDiff ?? 0, found.maxAbsDiff ?? 0)
  const firstDifference = before?.firstDifference ?? found.firstDifference
  return {
    name: found.id,
    status: differing === 0 && left === right ? "equal" : "different",
    ...(left === right ? {} : { detail: `${left} and ${right}` }),
    elements: (before?.elements ?? 0) + found.elements,
    differing,
    ...(differing > 0 ? { maxAbsDiff } : {}),
    ...(firstDifference ? { firstDifference } : {})
  }
}

/** An HF model against a Megatron checkpoint of it. */
export const verifyHfMegatron = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string, megatronPath: string, options: VerificationOptions) {
  const store = yield* storeInUse
  const { config, weights } = yield* openHfModel(hfModel)
  const tensors = weights ?? (yield* openSafetensors(hfModel))
  const checkpoint = yield* openCheckpoint(megatronPath)
  const draft = yield* attempt(() => planComparison({ family: families.find(config.json), config, weights: tensors, checkpoint }))
  const plan = yield* attempt(() => readExportPlan(store, draft))
  const original = plan.original!
  const constants = new Map(plan.constants.map((constant) => [constant.id, constant]))
  const repeats = Map.groupBy(plan.repeats, ({ id }) => id)
  const repeated = [...repeats].map(([id, rows]) => [id, { dtype: rows[0]!.dtype, shape: [rows.length, ...rows[0]!.shape] }] as const)
  const absent = new Map(plan.absentConstants.map(({ id, shape }) => [id, { dtype: plan.tensors.values().next().value?.dtype ?? "F32", shape }] as const))
  const lefts = new Map<string, Side>([...plan.tensors, ...constants, ...repeated])
  // Stored tensors that no HF tensor is made of are extra, under their own keys.
  for (const { tensor } of plan.report.leftBehind) lefts.set(tensor, checkpoint.tensors.get(tensor)!)
  const report = yield* run({
    left: checkpoint.directory,
    right: hfModel,
    reference: "right",
    lefts,
    // What an import fills with a constant, or repeats, is the model's, though no HF tensor is made of it.
    rights: new Map<string, Side>([...original.tensors, ...constants, ...absent, ...repeated]),
    comparisons: (name, dtype) => {
      const constant = constants.get(name)
      if (constant) return [constantComparison(plan, constant)]
      const rows = repeats.get(name)
      if (rows) return rows.map((part) => repeatComparison(plan, part))
      const tensor = plan.tensors.get(name)!
      const values = original.quantized.has(name)
        ? { id: name, dtype, shape: tensor.shape, copies: () => wholeTensor(original.tensors.get(name)!) }
        : storedArray(original.files, name)
      return [{ array: { ...exportArray(plan, tensor), dtype }, with: values }]
    },
    notes: plan.report.notes
  }, options)
  const told = ({ name }: TensorVerdict) => (absent.has(name) ? { detail: "an import fills it with zeros; the checkpoint lacks it" } : {})
  return { ...report, tensors: report.tensors.map((verdict) => ({ ...verdict, ...told(verdict) })) } satisfies VerifyReport
})

/** Two HF checkpoints, tensor by tensor. */
export const verifyHf = Effect.fnUntraced(function*(left: string, right: string, options: VerificationOptions) {
  const a = yield* openSafetensors(left)
  const b = yield* openSafetensors(right)
  return yield* run({
    left,
    right,
    reference: "left",
    lefts: a.tensors,
    rights: b.tensors,
    comparisons: (name, dtype) => {
      const { shape } = a.tensors.get(name)!
      return [{ array: { id: name, dtype, shape, copies: () => [identity(storedArray(a, name), name, shape)] }, with: storedArray(b, name) }]
    },
    notes: []
  }, options)
})

/** Model tensors and kept HF tensors of a checkpoint, by key. */
const spaceOf = (checkpoint: Checkpoint) =>
  new Map([...checkpoint.tensors, ...[...checkpoint.kept].map(([name, t]) => [`hf_source.${name}`, t] as const)])

/** Two Megatron checkpoints of one model, whatever their layouts; wrapper prefixes and training state do not count. */
export const verifyMegatron = Effect.fnUntraced(function*(left: string, right: string, options: VerificationOptions) {
  const store = yield* storeInUse
  const [a, b] = [yield* openCheckpoint(left), yield* openCheckpoint(right)]
  const [lefts, rights] = [spaceOf(a), spaceOf(b)]
  const [used, others] = [new ChunkSelection(a.directory), new ChunkSelection(b.directory)]
  for (const [key, tensor] of lefts) if (rights.has(key)) used.add(key, tensor)
  for (const [key, tensor] of rights) if (lefts.has(key)) others.add(key, tensor)
  const from = yield* attempt(() => readChunks(store, used))
  const to = yield* attempt(() => readChunks(store, others))
  return yield* run({
    left: a.directory,
    right: b.directory,
    reference: "left",
    lefts,
    rights,
    *comparisons(key, dtype) {
      for (const chunk of rights.get(key)!.chunks) {
        if (volume(chunk.sizes) === 0) continue
        const box = { id: key, dtype, shape: chunk.sizes }
        const copies = () => from.within(lefts.get(key)!, chunk, key)
        yield { array: { ...box, copies }, with: { ...box, copies: () => to.within(rights.get(key)!, chunk, key) } }
      }
    },
    notes: [...a.notes, ...b.notes]
  }, options)
})
