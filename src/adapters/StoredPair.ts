/**
 * The two matrices of an adapter as a Megatron checkpoint has them: `linear_in [rank, in]` and `linear_out [out, rank]` beside the
 * weight that they adapt, with its leading axes and cut as its module is (adapters-and-assembly.md 1.2). Pure.
 */
import type { BoundParameter } from "../bridge/Conversion.ts"
import { adapterKeyOf, type AdapterSide, partName, type AdapterSlot } from "../model/adapterKey.ts"
import type { Parameter, StoredPart } from "../model/Parameter.ts"
import type { Shape } from "../tensor/Copy.ts"
import { blankRows, type Factor, factorsOf, type Strip, wholeAxis } from "./factors.ts"
import { rowOrderOf, type RowOrder } from "./rowOrder.ts"

/** An adapter's place: of a whole weight, or (canonical) of one part of a fused one. */
export interface StoredPair {
  readonly base: BoundParameter
  readonly slot?: AdapterSlot
  /** Rows of `linear_out`. */
  readonly rows: number
  /** Columns of `linear_in`. */
  readonly columns: number
  /** The HF matrices that it adapts, and which of its rows and columns are theirs. */
  readonly factors: ReadonlyArray<Factor>
  /** Rows that no HF matrix has. */
  readonly blank: ReadonlyArray<Strip>
}

/** The adapter of a whole weight. */
export const fusedPair = (base: BoundParameter): StoredPair => {
  const [rows, columns] = base.parameter.shape as [number, number]
  return { base, rows, columns, factors: factorsOf(base), blank: blankRows(base) }
}

const SLOTS: Readonly<Record<string, ReadonlyArray<AdapterSlot>>> = { linear_qkv: ["q", "k", "v"], linear_fc1: ["gate", "up"] }

/** Rows of each part, where one HF tensor has all parts one after another. */
const slotRows = ({ parameter: { attention, shape } }: BoundParameter): ReadonlyArray<number> => {
  if (!attention) return [shape[0]! / 2, shape[0]! / 2]
  const { groups, headDim, heads, outputGate, valueDim = headDim } = attention
  return [heads * headDim * (outputGate ? 2 : 1), groups * headDim, groups * valueDim]
}

const isGated = ({ parameter: { parts } }: BoundParameter): boolean => parts.length === 2 && parts[0]!.key === parts[1]!.key

/**
 * The adapters of the parts of a fused weight: none for a weight that is not fused, and for routed experts, which the canonical form
 * adapts whole. Rows of each are in the order of the HF tensor.
 */
export const canonicalPairs = (base: BoundParameter): ReadonlyArray<StoredPair> => {
  const [, module = ""] = /([^.]+)\.weight$/.exec(base.parameter.name) ?? []
  const slots = SLOTS[module] ?? []
  if (base.parameter.expert || slots.length === 0 || (module === "linear_fc1" && !isGated(base)) || (module === "linear_qkv" && !base.parameter.attention)) return []
  const factors = factorsOf(base)
  const columns = base.parameter.shape[1]!
  const own = (slot: AdapterSlot, { columns: strips, matrix }: Factor, first: number, rows: number): StoredPair => ({
    base,
    slot,
    rows,
    columns,
    blank: [],
    factors: [{ matrix, columns: strips, rows: [wholeAxis(rows, first)] }]
  })
  const whole = slotRows(base)
  if (factors.length === 1 && factors[0]!.matrix.rows === whole.reduce((a, b) => a + b)) {
    let first = 0
    return slots.map((slot, i) => own(slot, factors[0]!, (first += whole[i]!) - whole[i]!, whole[i]!))
  }
  return factors.slice(0, slots.length).map((factor, i) => own(slots[i]!, factor, 0, factor.matrix.rows))
}

/** The same tensor without the axis of experts, which is the last of the leading ones. */
export const withoutExperts = (parameter: Parameter): Parameter => ({
  ...parameter,
  parts: parameter.parts.map((part): StoredPart => {
    const lead = part.shape.length - parameter.shape.length - 1
    return { ...part, shape: part.shape.toSpliced(lead, 1), at: part.at.toSpliced(lead, 1) }
  })
})

/** A tensor of a pair, and in which order its rows are stored. */
export interface StoredTensorOf {
  readonly parameter: Parameter
  /** Undefined: their own. */
  readonly order: RowOrder | undefined
}

const memoryName = (name: string, side: AdapterSide, slot: AdapterSlot | undefined): string => {
  const [, module = name, expert = ""] = /^(.*)\.weight(\d*)$/.exec(name) ?? []
  return adapterKeyOf(`${module}.weight`, side, slot)! + expert
}

/** How tensor parallelism cuts it: `linear_in` is split by rank where its module is split by rows, `linear_out` by rows. */
const splitAxisOf = ({ base: { parameter: { config, splitAxis } } }: StoredPair, side: AdapterSide): number | undefined => {
  if (side === "magnitude") return splitAxis === 1 ? undefined : splitAxis ?? (config ? 0 : undefined)
  // A linear layer of another library, which no trainer cuts.
  if (splitAxis === undefined && !config) return undefined
  return side === "linear_in" ? splitAxis ?? 0 : 0
}

/** Where the parts of one of its tensors are stored. */
const partsOf = ({ base: { parameter }, columns, rows, slot }: StoredPair, side: AdapterSide, rank: number, tp: number): ReadonlyArray<StoredPart> => {
  const [first] = parameter.parts as readonly [StoredPart]
  const lead = first.shape.length - parameter.shape.length
  const [shape, at] = [first.shape.slice(0, lead), first.at.slice(0, lead)]
  const key = adapterKeyOf(first.key, side, slot)!
  const part = (own: Shape, row = 0, range?: readonly [number, number], suffix = ""): StoredPart => ({
    key: suffix === "" ? key : `${key}.${suffix}`,
    shape: [...shape, ...own],
    at: [...at, ...own.map((_, axis) => (axis === 0 ? row : 0))],
    ...(range ? { rows: range } : {})
  })
  if (side === "linear_in") return [part([rank, columns])]
  if (side === "magnitude") return [part([rows])]
  if (isMixer(parameter)) return parameter.parts.map((p) => part([p.rows![1] - p.rows![0], rank], 0, p.rows, partName(p.key)))
  const halves = slot === undefined ? isGated({ parameter } as BoundParameter) : (slot === "gate" || slot === "up") && tp > 1
  if (!halves) return [part([rows, rank])]
  return [part([rows, rank], 0, [0, rows / 2]), part([rows, rank], rows / 2, [rows / 2, rows])]
}

/** A state-space mixer, whose input projection's adapter is stored in named parts as the projection is; that of other modules is not. */
const isMixer = ({ name, parts }: Parameter): boolean => partName(parts[0]!.key) !== undefined && /(^|\.)mixer\.in_proj\.weight$/.test(name)

/** A tensor of a pair of this rank, as a checkpoint that is saved by `tp` tensor-parallel ranks has it. */
export const storedTensor = (pair: StoredPair, side: AdapterSide, rank: number, tp = 1): StoredTensorOf => {
  const { base: { parameter }, columns, rows, slot } = pair
  const { config, expert, mtp, name, ragged, stage } = parameter
  const splitAxis = splitAxisOf(pair, side)
  const shape = side === "linear_in" ? [rank, columns] : side === "linear_out" ? [rows, rank] : [rows]
  return {
    parameter: {
      kind: "parameter",
      name: memoryName(name, side, slot),
      shape,
      parts: partsOf(pair, side, rank, tp),
      stage,
      ...(splitAxis === undefined ? {} : { splitAxis }),
      ...(ragged && side !== "linear_in" ? { ragged } : {}),
      ...(expert ? { expert } : {}),
      ...(mtp ? { mtp } : {}),
      ...(config ? { config } : {})
    },
    order: side === "linear_in" || splitAxis === undefined ? undefined : rowOrderOf(orderedParts(pair, side), tp)
  }
}

/**
 * The parts in which the rows of each rank are stored, where that is not how rows follow each other: a rank saves its own share of each part
 * one after another as one chunk.
 */
const orderedParts = ({ base: { parameter }, rows, slot }: StoredPair, side: AdapterSide): { readonly kind: "ranked" | "halved"; readonly parts: ReadonlyArray<number> } | undefined => {
  if (slot === "gate" || slot === "up") return side === "linear_out" ? { kind: "halved", parts: [rows] } : undefined
  if (slot !== undefined) return undefined
  if (partName(parameter.parts[0]!.key) !== undefined) {
    return side === "linear_out" && isMixer(parameter) ? undefined : { kind: "ranked", parts: parameter.parts.map((p) => p.rows![1] - p.rows![0]) }
  }
  return side === "magnitude" && isGated({ parameter } as BoundParameter) ? { kind: "ranked", parts: [rows / 2, rows / 2] } : undefined
}
