/**
 * The adapters of a Megatron checkpoint as those of HF matrices in `peft`'s form: which stored matrices each of its tensors is made of.
 * Where several stored adapters belong to one HF matrix, they stand beside each other as blocks. Pure.
 */
import type { Checkpoint } from "../space/Checkpoint.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import type { StoredArrays, StoredParameter } from "../checkpoint/StoredArrays.ts"
import type { SourceCopy, TargetArray } from "../engine/index.ts"
import { PlanRefused } from "../errors.ts"
import { commonDtype } from "../plan/dtypes.ts"
import type { Copy, Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import type { Factor, HfMatrix } from "./factors.ts"
import type { LocatedAdapter, LocatedTensor } from "./locate.ts"
import { multiplied } from "./multiplied.ts"
import type { OriginalRanks } from "./origin.ts"
import { type InputAxis, parameterPrefixes, type PeftPair, peftPair, type PeftTarget, PREFIX, targetOf } from "./peftPair.ts"
import { type AdapterBlock, inputCopies, magnitudeCopies, outputCopies, outputZeros, zeroBlock } from "./relate.ts"
import { reordered } from "./rowOrder.ts"
import { type SharedOuter, withoutExpert } from "./sharedMatrix.ts"

/** A tensor of `adapter_model.safetensors` and what it is made of. */
export interface AdapterTensor {
  readonly name: string
  /** The narrowest that holds what is stored. */
  readonly dtype: DType
  readonly shape: Shape
  readonly from: ReadonlyArray<StoredParameter>
  /** Its values are multiplied by this, a power of two. */
  readonly times: number
  /** Elements of no stored matrix, where several stand beside each other. */
  readonly zeros: ReadonlyArray<AdapterBlock>
}

/** The adapter of one HF matrix (of all experts, where one tensor has them). */
export interface TargetAdapter extends PeftTarget {
  readonly tensor: string
  readonly rank: number
  /** Of the stored adapter that it is made of, or of each of several that stand beside each other. */
  readonly storedRank: number
  /** What its B is multiplied by in the checkpoint. */
  readonly times: number
}

export interface AdapterDraft {
  readonly tensors: ReadonlyMap<string, AdapterTensor>
  readonly targets: ReadonlyArray<TargetAdapter>
  /** How many HF tensors of experts share one of their matrices with those of all others. */
  readonly shared: number
  /** The stored chunks that its tensors are made of. */
  readonly chunks: ChunkSelection
}

/** A stored adapter's part in the adapter of a matrix. */
export interface AdapterShare {
  readonly adapter: LocatedAdapter
  readonly factor: Factor
  /** Which of its ranks. */
  readonly ranks: { readonly first: number; readonly count: number }
}

/** What is known of the adapters of HF tensors besides what is stored. */
export interface Known {
  /** Which ranks of a stored adapter are that of an HF tensor, where not all are; a count of 0 for one that has no adapter. */
  readonly ranksOf: (tensor: string) => OriginalRanks | undefined
  /** The stored adapters of the tensor's parts have one A. */
  readonly isShared: (tensor: string) => boolean
  /** How `peft` takes the tensor of a parameter. */
  readonly inputAxis: (tensor: string) => InputAxis
  /** How a matrix is written that all experts share. */
  readonly sharedOuter: SharedOuter
}

/** The stored adapters of each matrix, experts of one tensor apart. */
const sharesOf = (adapters: ReadonlyArray<LocatedAdapter>, ranksOf: Known["ranksOf"]): ReadonlyMap<string, ReadonlyArray<AdapterShare>> => {
  const shares = new Map<string, Array<AdapterShare>>()
  for (const adapter of adapters) {
    for (const factor of adapter.pair.factors) {
      const { expert, tensor } = factor.matrix
      const share = { adapter, factor, ranks: ranksOf(tensor) ?? { first: 0, count: adapter.rank } }
      if (share.ranks.count === 0) continue
      const id = `${tensor}#${expert?.index ?? 0}`
      const known = shares.get(id)
      if (known) known.push(share)
      else shares.set(id, [share])
    }
  }
  return shares
}

class Tensors {
  readonly tensors = new Map<string, { name: string; dtype: DType; shape: Shape; from: Array<StoredParameter>; zeros: Array<AdapterBlock>; times: number }>()
  readonly chunks: ChunkSelection

  constructor(directory: string) {
    this.chunks = new ChunkSelection(directory)
  }

  /** `copies` from an HF tensor to a stored one, which is where the HF tensor's elements come from. */
  add(name: string, shape: Shape, { order, parameter, parts }: LocatedTensor, copies: ReadonlyArray<Copy>, zeros: ReadonlyArray<AdapterBlock> = [], times = 1): void {
    this.chunks.addParts(parameter.shape, parts)
    let dtype = parts[0]!.tensor.dtype
    for (const { part, tensor } of parts) dtype = commonDtype(dtype, tensor.dtype, part.key)
    const from = { shape: parameter.shape, copies: reordered(copies, parameter.shape, order), parts }
    const known = this.tensors.get(name)
    if (!known) {
      this.tensors.set(name, { name, dtype, shape, from: [from], zeros: [...zeros], times })
      return
    }
    known.dtype = commonDtype(known.dtype, dtype, name)
    known.zeros.push(...zeros)
    known.from.push(from)
  }

  /** One of its matrices is that of all experts: it is there once, under a name of its own. */
  sharedPair(pair: PeftPair, shares: ReadonlyArray<AdapterShare>, target: TargetAdapter, side: "input" | "output"): void {
    const own = pair[side]
    const tensor = withoutExpert(own.tensor)
    this.pair({ ...pair, [side]: { ...own, tensor, shape: [1, ...own.shape] } }, shares, target, this.tensors.has(tensor) ? tensor : undefined)
  }

  /** The adapter of one matrix, made of the stored ones of `shares`; `known`: a tensor that is there already. */
  pair(pair: PeftPair, shares: ReadonlyArray<AdapterShare>, { rank: all, times }: Pick<TargetAdapter, "rank" | "times">, known?: string): void {
    let hf = 0
    for (const { adapter: { input, magnitude, output, pair: { columns }, rank }, factor, ranks: { count, first } } of shares) {
      // Of parts with one A, all have all ranks.
      const ranks = { count, hf: count === all ? 0 : hf, stored: first, of: rank }
      if (hf < all && pair.input.tensor !== known) this.add(pair.input.tensor, pair.input.shape, input, inputCopies(factor, pair, ranks, columns, input.parameter.name))
      if (pair.output.tensor !== known) this.add(pair.output.tensor, pair.output.shape, output, outputCopies(factor, pair, ranks, output.parameter.name), outputZeros(factor, pair, ranks, all), 1 / times)
      hf += count
      if (!magnitude) continue
      if (!pair.magnitude) throw new PlanRefused({ code: "adapter/dora", problem: "peft has no DoRA for a parameter of its own", names: [factor.matrix.tensor] })
      this.add(pair.magnitude.tensor, pair.magnitude.shape, magnitude, magnitudeCopies(factor, pair.magnitude.tensor, magnitude.parameter.name))
    }
  }
}

const rankIn = (shares: ReadonlyArray<AdapterShare>, isShared: boolean): number => (isShared ? shares[0]!.ranks.count : shares.reduce((sum, { ranks: { count } }) => sum + count, 0))

/** Of the experts of one tensor, all have an adapter, of one rank. PlanRefused `adapter/experts`. */
const requireAllExperts = (matrices: ReadonlyArray<HfMatrix>, ranks: ReadonlyArray<number>): void => {
  const [first] = matrices
  const of = first?.expert?.of ?? 1
  if (matrices.length === of && ranks.every((rank) => rank === ranks[0])) return
  throw new PlanRefused({
    code: "adapter/experts",
    problem: matrices.length === of ? `adapters of the experts of one tensor have ranks from ${Math.min(...ranks)} to ${Math.max(...ranks)}` : `${matrices.length} of ${of} experts of one tensor have an adapter`,
    names: [first!.tensor]
  })
}

/** The matrix of an expert's module that all experts share, where the other is its own. */
const sharedSide = (shares: ReadonlyArray<AdapterShare>): "input" | "output" | undefined => {
  const [{ adapter: { shared } }] = shares as [AdapterShare]
  return shares.length > 1 || shared.input === shared.output ? undefined : shared.input ? "input" : "output"
}

/** What `peft`'s tensors are made of. PlanRefused `adapter/…`. */
export const draftAdapters = (adapters: ReadonlyArray<LocatedAdapter>, { directory }: Checkpoint, { inputAxis, isShared, ranksOf, sharedOuter }: Known): AdapterDraft => {
  const byTensor = Map.groupBy(sharesOf(adapters, ranksOf).values(), ([first]) => first!.factor.matrix.tensor)
  const targets = [...byTensor].map(([tensor, groups]): TargetAdapter => {
    const matrices = groups.map(([first]) => first!.factor.matrix)
    const ranks = groups.map((shares) => rankIn(shares, isShared(tensor)))
    requireAllExperts(matrices, ranks)
    return { ...targetOf(matrices[0]!), tensor, rank: ranks[0]!, storedRank: groups[0]![0]!.adapter.rank, times: ranksOf(tensor)?.times ?? 1 }
  })
  const prefixes = parameterPrefixes(targets.flatMap(({ kind, path }) => (kind === "parameter" ? [path] : [])))
  const tensors = new Tensors(directory)
  let shared = 0
  for (const target of targets) {
    const { kind, path, rank, tensor } = target
    const prefix = kind === "module" ? PREFIX + path : prefixes.get(path)!
    for (const shares of byTensor.get(tensor)!) {
      const pair = peftPair(shares[0]!.factor.matrix, prefix, rank, inputAxis(tensor))
      const side = kind === "module" ? sharedSide(shares) : undefined
      if (side) shared++
      if (side && sharedOuter === "once") tensors.sharedPair(pair, shares, target, side)
      else tensors.pair(pair, shares, target)
    }
  }
  return { tensors: tensors.tensors, targets, shared, chunks: tensors.chunks }
}

/** One of its tensors as an array. */
export const adapterArray = (stored: StoredArrays, { dtype, from, name, shape, times, zeros }: AdapterTensor): TargetArray => multiplied({
  id: name,
  dtype,
  shape,
  copies: () => {
    const copies: ReadonlyArray<SourceCopy> = from.flatMap((parameter) => stored.toHf(parameter, name))
    return [...copies, ...zeros.map((block) => zeroBlock(copies[0]!.source.tensor, name, block))]
  }
}, times)
