/**
 * The mapping kinds. Notation: H query heads, G groups, n = H/G, d head width, h the remaining axes taken as one, E experts.
 * All weights are [out, in]; a bias is the same with h = 1. Source: bridges-and-mappings.md §1.
 */
import type { Parameter } from "../model/Parameter.ts"
import { type Copy, identity, type Shape, stridesOf, type View, viewOf, volume } from "../tensor/Copy.ts"
import { from, type ExpectedTensor, type MappingKind, type Relation, type RowSource } from "./Mapping.ts"

/** The axes behind the first, as a shape; `[]` for a bias. */
const tail = (shape: Shape): Shape => shape.slice(1)

const attentionOf = (p: Parameter) => {
  if (!p.attention) throw new RangeError(`${p.name} belongs to no attention`)
  return p.attention
}

/** A view of rows `row, row + outer[0].step …` of a matrix-like tensor, with its inner axes in C order. */
const rowsView = (tensor: string, inner: Shape, row: number, ...steps: ReadonlyArray<number>): View => {
  const width = volume(inner)
  return { tensor, offset: row * width, strides: [...steps.map((s) => s * width), ...stridesOf(inner)] }
}

/** `y = x`. */
export const direct: MappingKind = {
  name: "direct",
  arity: 1,
  relate: (p, [name]) => ({ tensors: [{ name: name!, shape: p.shape }], copies: [identity(name!, p.name, p.shape)] })
}

/** `y = x − 1`, norms whose trainer keeps the deviation from one; computed in the source's dtype. */
export const zeroCentred: MappingKind = {
  name: "zero-centred",
  arity: 1,
  relate: (p, [name]) => ({
    tensors: [{ name: name!, shape: p.shape }],
    copies: [{ ...identity(name!, p.name, p.shape), transform: { kind: "add", constant: -1 } }]
  })
}

/** `y = cat₀(x₁ … x_k)` with the given numbers of rows. */
const stackRows = (p: Parameter, parts: ReadonlyArray<readonly [name: string, rows: number]>): Relation => {
  const inner = tail(p.shape)
  const tensors = parts.map(([name, rows]): ExpectedTensor => ({ name, shape: [rows].concat(inner) }))
  const strides = stridesOf(p.shape)
  let row = 0
  const copies = tensors.map(({ name, shape }): Copy => {
    const offset = row * strides[0]!
    row += shape[0]!
    return { shape, source: { tensor: name, offset: 0, strides }, target: { tensor: p.name, offset, strides } }
  })
  if (row !== p.shape[0]) throw new RangeError(`${p.name} has ${p.shape[0]} rows, its sources ${row}`)
  return { tensors, copies }
}

/** `cat₀(gate, up)`: the two halves of a gated projection. */
export const gatedMlp: MappingKind = {
  name: "gated-mlp",
  arity: 2,
  relate: (p, [gate, up]) => stackRows(p, [[gate!, p.shape[0]! / 2], [up!, p.shape[0]! / 2]])
}

/**
 * Rows of one group: its n·d query rows (with an output gate: n·d query rows, then n·d gate rows), d key rows, v value rows.
 * `parts` says where role r of group g starts in which HF tensor.
 */
const interleave = (
  p: Parameter,
  at: Readonly<Record<"q" | "k" | "v", readonly [name: string, row: number]>> & { readonly gate?: string }
): Array<Copy> => {
  const { groups: G, headDim: d, heads: H, outputGate, valueDim = d } = attentionOf(p)
  const n = H / G
  const inner = tail(p.shape)
  const period = (outputGate ? 2 * n : n) * d + d + valueDim
  const block = (role: "q" | "k" | "v", shape: Shape, steps: ReadonlyArray<number>, first: number, row: number, targetSteps: ReadonlyArray<number>): Copy => ({
    shape: [...shape, ...inner],
    source: rowsView(at[role][0], inner, at[role][1] + first, ...steps),
    target: rowsView(p.name, inner, row, ...targetSteps)
  })
  const queries = at.gate !== undefined
    // HF: one gate row per head. Megatron: that row d times, of which the opposite direction reads the first.
    ? [
      block("q", [G, n * d], [n * d, 1], 0, 0, [period, 1]),
      { shape: [G, n, ...inner], source: rowsView(at.gate, inner, 0, n, 1), target: rowsView(p.name, inner, n * d, period, d) },
      {
        shape: [G, n, d - 1, ...inner],
        source: rowsView(at.gate, inner, 0, n, 1, 0),
        target: rowsView(p.name, inner, n * d + 1, period, d, 1),
        echo: true as const
      }
    ]
    : outputGate
    // HF: per head [query d | gate d]. Megatron: per group [queries n·d | gates n·d].
    ? [0, 1].map((half) => block("q", [G, n, d], [2 * n * d, 2 * d, 1], half * d, half * n * d, [period, d, 1]))
    : [block("q", [G, n * d], [n * d, 1], 0, 0, [period, 1])]
  const keys = period - d - valueDim
  return [
    ...queries,
    block("k", [G, d], [d, 1], 0, keys, [period, 1]),
    block("v", [G, valueDim], [valueDim, 1], 0, keys + d, [period, 1])
  ]
}

const qkvRows = (p: Parameter) => {
  const { groups, headDim, heads, outputGate, valueDim = headDim } = attentionOf(p)
  return { q: heads * headDim * (outputGate ? 2 : 1), k: groups * headDim, v: groups * valueDim }
}

/** Group-wise interleave of separate q, k, v tensors. */
export const qkv: MappingKind = {
  name: "qkv",
  arity: 3,
  relate: (p, [q, k, v]) => {
    const rows = qkvRows(p)
    const inner = tail(p.shape)
    return {
      tensors: [
        { name: q!, shape: [rows.q, ...inner] },
        { name: k!, shape: [rows.k, ...inner] },
        { name: v!, shape: [rows.v, ...inner] }
      ],
      copies: interleave(p, { q: [q!, 0], k: [k!, 0], v: [v!, 0] })
    }
  }
}

/** Group-wise interleave of q, k, v and a gate with one row per head, which Megatron holds once per row of the head. */
export const headGatedQkv: MappingKind = {
  name: "head-gated-qkv",
  arity: 4,
  relate: (p, [q, k, v, g]) => {
    const { groups, headDim, heads, outputGate, valueDim = headDim } = attentionOf(p)
    if (!outputGate) throw new RangeError(`${p.name} has no output gate`)
    const inner = tail(p.shape)
    return {
      tensors: [
        { name: q!, shape: [heads * headDim, ...inner] },
        { name: k!, shape: [groups * headDim, ...inner] },
        { name: v!, shape: [groups * valueDim, ...inner] },
        { name: g!, shape: [heads, ...inner] }
      ],
      copies: interleave(p, { q: [q!, 0], k: [k!, 0], v: [v!, 0], gate: g! })
    }
  }
}

/** Values are keys: the rows of v repeat k, which the opposite direction reads from k alone. */
export const valuesAreKeys: MappingKind = {
  name: "qk",
  arity: 2,
  relate: (p, [q, k]) => {
    const rows = qkvRows(p)
    const [queries, keys, values] = interleave(p, { q: [q!, 0], k: [k!, 0], v: [k!, 0] })
    return {
      tensors: [{ name: q!, shape: [rows.q, ...tail(p.shape)] }, { name: k!, shape: [rows.k, ...tail(p.shape)] }],
      copies: [queries!, keys!, { ...values!, echo: true }]
    }
  }
}

/** The target of a copy, holding a constant instead. */
const constant = (value: number, copy: Copy): Copy => ({
  ...copy,
  source: { tensor: copy.source.tensor, offset: 0, strides: copy.shape.map(() => 0) },
  transform: { kind: "fill", value },
  echo: true
})

/** Keys and values come from another layer: their rows, which nothing reads, are 0. */
export const queriesAlone: MappingKind = {
  name: "q",
  arity: 1,
  relate: (p, [q]) => {
    const [queries, ...unread] = interleave(p, { q: [q!, 0], k: [q!, 0], v: [q!, 0] })
    return {
      tensors: [{ name: q!, shape: [qkvRows(p).q, ...tail(p.shape)] }],
      copies: [queries!, ...unread.map((copy) => constant(0, copy))]
    }
  }
}

/** Keys have no bias: their rows are 0, and an export leaves them out, for a bias of keys changes no attention weight. */
export const keysUnbiased: MappingKind = {
  name: "qv",
  arity: 2,
  relate: (p, [q, v]) => {
    const rows = qkvRows(p)
    const [queries, keys, values] = interleave(p, { q: [q!, 0], k: [q!, 0], v: [v!, 0] })
    return {
      tensors: [{ name: q!, shape: [rows.q, ...tail(p.shape)] }, { name: v!, shape: [rows.v, ...tail(p.shape)] }],
      copies: [queries!, constant(0, keys!), values!]
    }
  }
}

/** `y = value`, where the file has no tensor; `x`, a tensor of the same dtype and shape, belongs to another parameter. */
export const filled = (value: number): MappingKind => ({
  name: "filled",
  arity: 1,
  relate: (p, [name]) => ({ tensors: [{ name: name!, shape: p.shape }], copies: [constant(value, identity(name!, p.name, p.shape))] })
})

/** `y = 0`, a parameter that HF does not have; `x`, a tensor of the same layer and of any shape, says which dtype it is stored in. */
export const zeros: MappingKind = {
  name: "zeros",
  arity: 1,
  constant: 0,
  relate: (p, [like]) => ({ tensors: [], copies: [constant(0, identity(like!, p.name, p.shape))] })
}

/** Group-wise interleave of one tensor `cat₀(q, k, v)`. */
export const concatenatedQkv: MappingKind = {
  name: "concatenated-qkv",
  arity: 1,
  relate: (p, [name]) => {
    const rows = qkvRows(p)
    return {
      tensors: [{ name: name!, shape: [rows.q + rows.k + rows.v, ...tail(p.shape)] }],
      copies: interleave(p, { q: [name!, 0], k: [name!, rows.q], v: [name!, rows.q + rows.k] })
    }
  }
}

/** `[x₂ x₁]`: the two halves of the columns change places. */
export const swappedHalves: MappingKind = {
  name: "swapped-halves",
  arity: 1,
  relate: (p, [name]) => {
    const [rows, columns] = p.shape as [number, number]
    const strides = stridesOf(p.shape)
    const half = columns / 2
    return {
      tensors: [{ name: name!, shape: p.shape }],
      copies: [0, half].map((at): Copy => ({
        shape: [rows, half],
        source: { tensor: name!, offset: half - at, strides },
        target: { tensor: p.name, offset: at, strides }
      }))
    }
  }
}

/** Row counts of the named parts of a fused projection, in order. */
const partRows = (p: Parameter): ReadonlyArray<number> => p.parts.map((part) => (part.rows ? part.rows[1] - part.rows[0] : p.shape[0]!))

/** Gated DeltaNet input projection from `in_proj_qkv`, `in_proj_z`, `in_proj_b`, `in_proj_a`: `cat₀` of the four. */
export const gatedDeltaNetSeparate: MappingKind = {
  name: "gdn-separate",
  arity: 4,
  relate: (p, [qkvName, z, b, a]) => {
    const [query, key, value, gate, beta, alpha] = partRows(p)
    return stackRows(p, [[qkvName!, query! + key! + value!], [z!, gate!], [b!, beta!], [a!, alpha!]])
  }
}

/** How a packed expert tensor lies in the file. */
export interface PackedExperts {
  readonly experts: number
  /** The file holds `[E, in, out]` instead of `[E, out, in]`. */
  readonly transposed: boolean
  /** The file holds gate and up on an axis of their own: `[E, 2, out/2, in]`. */
  readonly apart?: boolean
  /** The HF model's module says that it is transposed. */
  readonly declared?: true
}

/** Slice e of a packed `[E, out, in]` (or `[E, in, out]`, or `[E, 2, out/2, in]`) tensor is the weight of expert e. */
export const packedExpert = (packed: PackedExperts): MappingKind => ({
  name: packed.transposed ? "packed-expert-transposed" : "packed-expert",
  arity: 1,
  ...(packed.declared ? { inputFirst: true } : {}),
  relate: (p, [name]) => {
    if (!p.expert) throw new RangeError(`${p.name} belongs to no expert`)
    const own = packed.transposed ? [...p.shape].reverse() : p.shape
    const strides = stridesOf(own)
    return {
      // Gate above up is how they lie either way.
      tensors: [{ name: name!, shape: [packed.experts, ...(packed.apart ? [2, own[0]! / 2, ...own.slice(1)] : own)] }],
      copies: [{
        shape: p.shape,
        source: { tensor: name!, offset: p.expert.index * volume(own), strides: packed.transposed ? strides.reverse() : strides },
        target: viewOf(p.name, p.shape)
      }]
    }
  }
})

/** Row sources, as families write them: `"self_attention.linear_qkv.weight": qkvOf("self_attn.{q,k,v}_proj.weight")`. */
export const qkvOf = from(qkv)
export const headGatedQkvOf = from(headGatedQkv)
export const concatenatedQkvOf = from(concatenatedQkv)
export const gatedMlpOf = from(gatedMlp)
export const swappedHalvesOf = from(swappedHalves)
export const valuesAreKeysOf = from(valuesAreKeys)
export const queriesAloneOf = from(queriesAlone)
export const keysUnbiasedOf = from(keysUnbiased)
export const filledOf = (value: number, pattern: string): RowSource => from(filled(value))(pattern)
export const zerosOf = from(zeros)
export const zeroCentredOf = from(zeroCentred)
export const gatedDeltaNetOf = from(gatedDeltaNetSeparate)
export const packedExpertOf = (packed: PackedExperts, pattern: string): RowSource => from(packedExpert(packed))(pattern)
