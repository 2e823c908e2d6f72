/**
 * The adapters of HF matrices as those of Megatron's weights. Where one weight has the rows of several HF matrices (q, k, v; gate, up), it
 * has one adapter: their common A if they have one, else all their A's beside each other, with B in blocks, which changes no value:
 * `[B_q 0; 0 B_k]·[A_q; A_k] = [B_q·A_q; B_k·A_k]`. All adapters of a trainer have one rank and one alpha: smaller ones are filled up
 * with ranks of zeros (adapters-and-assembly.md 1.5). Pure.
 */
import type { BoundParameter } from "../bridge/Conversion.ts"
import { PlanRefused } from "../errors.ts"
import type { AdapterForm } from "../runconfig/adapterSection.ts"
import type { AdapterSide } from "../model/adapterKey.ts"
import type { Parameter } from "../model/Parameter.ts"
import type { Copy } from "../tensor/Copy.ts"
import type { BoundAdapter } from "./bindPeft.ts"
import { type Factor, isLinearWeight } from "./factors.ts"
import type { PeftPair } from "./peftPair.ts"
import { inputCopies, magnitudeCopies, outputCopies, storedZeros, zeroBlock } from "./relate.ts"
import { reordered } from "./rowOrder.ts"
import { canonicalPairs, fusedPair, type StoredPair, storedTensor, withoutExperts } from "./StoredPair.ts"

/** The adapter of an HF matrix as a part of a stored one. */
export interface Contribution {
  readonly factor: Factor
  readonly adapter: BoundAdapter
  readonly pair: PeftPair
  /** The first of its ranks in the stored adapter. */
  readonly first: number
}

/** A stored adapter and what it is made of. */
export interface PlannedPair {
  readonly stored: StoredPair
  readonly contributions: ReadonlyArray<Contribution>
  /** Ranks in use. */
  readonly rank: number
  readonly scale: number
}

/** Tells A's, or adapters, that are the same, bit by bit. */
export type Same = (a: Contribution, b: Contribution) => boolean

const contributionsOf = ({ factors }: StoredPair, adapters: ReadonlyMap<string, BoundAdapter>): ReadonlyArray<Contribution> =>
  factors.flatMap((factor) => {
    const adapter = adapters.get(factor.matrix.tensor)
    return adapter ? [{ factor, adapter, pair: adapter.pairOf(factor.matrix), first: 0 }] : []
  })

const isShared = (own: ReadonlyArray<Contribution>, same: Same): boolean =>
  own.every((c) => c.adapter.rank === own[0]!.adapter.rank && same(c, own[0]!))

const planned = (stored: StoredPair, own: ReadonlyArray<Contribution>, same: Same): PlannedPair => {
  const { rank, scale } = own[0]!.adapter
  const other = own.find(({ adapter }) => adapter.scale !== scale)
  if (other) {
    throw new PlanRefused({
      code: "adapter/scale",
      problem: `adapters of one weight are scaled differently (${scale} and ${other.adapter.scale}), so one adapter cannot be all of them`,
      names: own.map(({ adapter }) => adapter.path),
      hint: "--adapter-form canonical gives q, k, v, gate and up an adapter each, if all have one rank and one alpha."
    })
  }
  if (isShared(own, same)) return { stored, contributions: own, rank, scale }
  let first = 0
  const contributions = own.map((c) => ({ ...c, first: (first += c.adapter.rank) - c.adapter.rank }))
  return { stored, contributions, rank: first, scale }
}

/** Whether a trainer's canonical class can have the adapters of this weight: those that it takes apart wrongly it cannot. */
const isCanonical = (base: BoundParameter, pairs: ReadonlyArray<StoredPair>): boolean => {
  if (pairs.length > 0) return base.parameter.attention?.outputGate !== true && pairs.every(({ factors }) => factors.length === 1)
  return base.parameter.expert !== undefined || !/(?:^|\.)(?:linear_qkv|linear_fc1)\.weight$/.test(base.parameter.name)
}

/** Of the experts of a layer all have an adapter or none: one stored tensor holds all of them. PlanRefused `adapter/experts`. */
const requireAllExperts = (candidates: ReadonlyArray<Candidate>): void => {
  const experts = Map.groupBy(candidates.filter(({ base }) => base.parameter.expert), ({ base: { module, parameter } }) => module.keyPrefix + parameter.name.replace(/\d+$/, ""))
  for (const [name, own] of experts) {
    const all = own[0]!.base.parameter.expert!.of
    if (own.length < all) throw new PlanRefused({ code: "adapter/experts", problem: `${own.length} of ${all} experts of one layer have an adapter; the trainer gives all of them one`, names: [name] })
  }
}

export interface AdapterPlan {
  readonly form: AdapterForm
  /** Experts share A of their first linear layer and B of their second, and the adapter says so. */
  readonly sharedOuter: boolean
  readonly pairs: ReadonlyArray<PlannedPair>
}

/** The forms that a user can ask for; `auto`: canonical only where the adapters of one weight do not share their A. */
export type WantedForm = "auto" | "lora" | "canonical"

/** Which matrix the trainer's experts share: that of the side that tensor parallelism does not cut the experts' weight on. */
const outerSide = ({ base: { parameter: { splitAxis } } }: StoredPair) => (splitAxis === 1 ? { side: "linear_out", half: "b" } as const : { side: "linear_in", half: "a" } as const)

const isSharedOuter = (pairs: ReadonlyArray<PlannedPair>): boolean => {
  const experts = pairs.filter(({ stored: { base } }) => base.parameter.expert)
  return experts.length > 0 && experts.every(({ contributions, stored }) => contributions.every(({ adapter: { matrices } }) => matrices.shared === outerSide(stored).half))
}

/** Of no expert, and cut by nothing. */
const ofAllExperts = ({ expert: _expert, splitAxis: _splitAxis, ...parameter }: Parameter): Parameter => parameter

interface Candidate {
  readonly base: BoundParameter
  readonly fused: StoredPair
  readonly contributions: ReadonlyArray<Contribution>
  readonly canonical: ReadonlyArray<StoredPair>
}

const formOf = (wanted: WantedForm, dora: boolean, candidates: ReadonlyArray<Candidate>, same: Same): AdapterForm => {
  if (dora) {
    if (wanted === "canonical") throw new PlanRefused({ code: "adapter/dora", problem: "DoRA has no canonical form in the trainer" })
    return "dora"
  }
  const unfit = candidates.find(({ base, canonical }) => !isCanonical(base, canonical))
  if (wanted === "canonical" && unfit) {
    throw new PlanRefused({ code: "adapter/form", problem: "the trainer's canonical class cannot adapt this weight", names: [unfit.base.parameter.name], hint: "--adapter-form lora stores one adapter, of a larger rank." })
  }
  if (wanted !== "auto") return wanted
  const apart = candidates.some(({ canonical, contributions, fused }) => canonical.length > 0 && (contributions.length < fused.factors.length || !isShared(contributions, same)))
  return apart && !unfit ? "canonical" : "lora"
}

/** Which stored adapters there are, and what each is made of. PlanRefused `adapter/…` where they would not be exact. */
export const planAdapters = (parameters: ReadonlyArray<BoundParameter>, adapters: ReadonlyMap<string, BoundAdapter>, wanted: WantedForm, same: Same): AdapterPlan => {
  const candidates = parameters.filter(isLinearWeight).flatMap((base): ReadonlyArray<Candidate> => {
    const fused = fusedPair(base)
    const contributions = contributionsOf(fused, adapters)
    return contributions.length === 0 ? [] : [{ base, fused, contributions, canonical: canonicalPairs(base) }]
  })
  requireAllExperts(candidates)
  const dora = [...adapters.values()].some(({ matrices }) => matrices.magnitude)
  const form = formOf(wanted, dora, candidates, same)
  const partial = dora ? candidates.find(({ contributions, fused }) => contributions.length < fused.factors.length || contributions.some(({ adapter }) => !adapter.matrices.magnitude)) : undefined
  if (partial) throw new PlanRefused({ code: "adapter/dora", problem: "a weight of which some rows have no DoRA adapter needs the row lengths of the others, which the adapter does not hold", names: [partial.base.parameter.name] })
  const pairs = candidates.flatMap(({ canonical, contributions, fused }) =>
    form === "canonical" && canonical.length > 0
      ? canonical.flatMap((pair) => {
        const own = contributionsOf(pair, adapters)
        return own.length === 0 ? [] : [planned(pair, own, same)]
      })
      : [planned(fused, contributions, same)])
  return { form, pairs, sharedOuter: form === "lora" && isSharedOuter(pairs) }
}

/** The rank and the alpha that all adapters get, and what the B of those with another scale is multiplied by. */
export const commonScale = (pairs: ReadonlyArray<PlannedPair>): { readonly rank: number; readonly alpha: number; readonly scale: number } => {
  const rank = pairs.reduce((most, pair) => Math.max(most, pair.rank), 0)
  const [[scale]] = [...Map.groupBy(pairs, (pair) => pair.scale)].sort(([, a], [, b]) => b.length - a.length) as [[number, unknown]]
  const odd = pairs.find((pair) => !isPowerOfTwo(pair.scale / scale))
  if (odd) {
    throw new PlanRefused({
      code: "adapter/scale",
      problem: `all adapters of a trainer have one alpha and one rank; scales ${scale} and ${odd.scale} differ by no power of two, so B would be rounded`,
      names: odd.contributions.map(({ adapter }) => adapter.path)
    })
  }
  return { rank, alpha: Number((scale * rank).toPrecision(15)), scale }
}

const isPowerOfTwo = (x: number): boolean => x > 0 && Number.isInteger(Math.log2(x))

/** A stored tensor of an adapter and what fills it. */
export interface AdapterParameter extends BoundParameter {
  /** Its values are multiplied by this, a power of two. */
  readonly times: number
}

/** What all adapters have in common. */
export interface Common {
  readonly rank: number
  readonly scale: number
  readonly sharedOuter?: boolean
}

/** The stored tensors of an adapter, as `tp` tensor-parallel ranks hold them; what all experts share comes with the first. */
export const adapterParameters = ({ contributions, scale: own, stored }: PlannedPair, { rank, scale, sharedOuter = false }: Common, tp: number): ReadonlyArray<AdapterParameter> => {
  const { base: { module, parameter: { expert } }, columns } = stored
  const outer = sharedOuter && expert ? outerSide(stored).side : undefined
  const parameterOf = (side: AdapterSide, copiesTo: (name: string) => ReadonlyArray<Copy>, times = 1): AdapterParameter => {
    const { order, parameter: ofOne } = storedTensor(stored, side, rank, tp)
    const parameter = side === outer ? ofAllExperts(withoutExperts(ofOne)) : ofOne
    const copies = reordered(copiesTo(parameter.name), parameter.shape, order)
    return { module, parameter, copies, tensors: [], kind: "adapter", times }
  }
  const used = contributions.at(-1)!.first + contributions.at(-1)!.adapter.rank
  const like = contributions[0]!.pair.input.tensor
  const inputs = contributions.some(({ first }) => first > 0) ? contributions : contributions.slice(0, 1)
  const ranksOf = ({ adapter, first }: Contribution) => ({ count: adapter.rank, hf: 0, stored: first, of: rank })
  const input = parameterOf("linear_in", (name) => [
    ...inputs.flatMap((c) => inputCopies(c.factor, c.pair, ranksOf(c), columns, name)),
    ...(used < rank ? [zeroBlock(like, name, { shape: [rank - used, columns], offset: used * columns, strides: [columns, 1] })] : [])
  ])
  const output = parameterOf("linear_out", (name) => [
    ...contributions.flatMap((c) => outputCopies(c.factor, c.pair, ranksOf(c), name)),
    ...storedZeros(stored, contributions.map((c) => ({ rows: c.factor.rows, ranks: ranksOf(c) })), rank).map((block) => zeroBlock(like, name, block))
  ], own / scale)
  if (outer && expert!.index > 0) return [outer === "linear_in" ? output : input]
  if (!contributions[0]!.adapter.matrices.magnitude) return [input, output]
  return [input, output, parameterOf("magnitude", (name) => contributions.flatMap((c) => magnitudeCopies(c.factor, c.pair.magnitude!.tensor, name)))]
}
