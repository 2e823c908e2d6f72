/** Two spaces compared, name by name: what only one has, and for what both have where the values differ. By one process or several. */
import { Effect, Stream } from "effect"
import { z } from "zod"
import { worldProgress } from "../cluster/progress.ts"
import { currentWorld } from "../cluster/single.ts"
import { eachUnit, type WorldCalls } from "../cluster/World.ts"
import { compare, type Compared, type Comparison, type EngineLimits } from "../engine/index.ts"
import { sameShape, type Shape, volume } from "../tensor/Copy.ts"
import { bytesOf, type DType } from "../tensor/DType.ts"

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

export interface ComparedSide {
  readonly dtype: DType
  readonly shape: Shape
}

export interface Pairing {
  readonly left: string
  readonly right: string
  /** The side that says what there should be: a tensor only there is missing from the other. */
  readonly reference: "left" | "right"
  readonly lefts: ReadonlyMap<string, ComparedSide>
  readonly rights: ReadonlyMap<string, ComparedSide>
  /** The comparisons that together hold `name` of the left, in the right's dtype, against the right's own. */
  readonly comparisons: (name: string, dtype: DType) => Iterable<Comparison>
  readonly notes: ReadonlyArray<string>
}

/** Compare what both have; by several processes, each a part of it. */
export const comparePairing = (pairing: Pairing, options: VerificationOptions) =>
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
    yield* worldProgress(world, options.progress, (progress) => {
      const compared = (names: ReadonlyArray<string>, each: (found: Compared) => void) => {
        const queue = function*() {
          for (const name of names) yield* pairing.comparisons(name, rights.get(name)!.dtype)
        }
        return compare(queue(), options).pipe(Stream.runForEach((found) => Effect.sync(() => {
          progress(found.elements * bytesOf(rights.get(found.id)!.dtype))
          each(found)
        })))
      }
      return world.size === 1 ? compared(common, judge) : judgedTogether(world, grouped(common, sizeOf, world.size), compared, judge)
    })
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
