/** Kinds of routed experts beyond one tensor per projection or per expert. e: the expert's index, E experts, ffn width I. */
import type { Parameter } from "../../model/Parameter.ts"
import { stridesOf, viewOf, volume } from "../../tensor/Copy.ts"
import { type PackedExperts } from "../kinds.ts"
import { from, type MappingKind, type RowSource } from "../Mapping.ts"

const indexOf = (p: Parameter): number => {
  if (!p.expert) throw new RangeError(`${p.name} belongs to no expert`)
  return p.expert.index
}

/** `cat₀(gate[e], up[e])`, gate and up each one tensor `[E, I, h]`. */
export const stackedGatedExpert = (experts: number): MappingKind => ({
  name: "stacked-gated-expert",
  arity: 2,
  relate: (p, names) => {
    const half = p.shape[0]! / 2
    const shape = [half, ...p.shape.slice(1)]
    return {
      tensors: names.map((name) => ({ name, shape: [experts, ...shape] })),
      copies: names.map((name, i) => ({
        shape,
        source: { tensor: name, offset: indexOf(p) * volume(shape), strides: stridesOf(shape) },
        target: viewOf(p.name, p.shape, i * half)
      }))
    }
  }
})

/** Slice e of a tensor whose rows alternate gate, up, gate, up …; here the gate rows come first. Also its bias `[E, 2I]`. */
export const alternatingGatedExpert = ({ declared, experts, transposed }: PackedExperts): MappingKind => ({
  name: transposed ? "alternating-expert-transposed" : "alternating-expert",
  arity: 1,
  ...(declared ? { inputFirst: true } : {}),
  relate: (p, [name]) => {
    const own = transposed ? [...p.shape].reverse() : p.shape
    const [row = 1, ...inner] = transposed ? stridesOf(own).reverse() : stridesOf(own)
    const shape = [p.shape[0]! / 2, ...p.shape.slice(1)]
    return {
      tensors: [{ name: name!, shape: [experts, ...own] }],
      copies: [0, 1].map((half) => ({
        shape,
        source: { tensor: name!, offset: indexOf(p) * volume(own) + half * row, strides: [2 * row, ...inner] },
        target: viewOf(p.name, p.shape, half * shape[0]!)
      }))
    }
  }
})

/** The same kind for a second set of experts, which the file numbers behind the first: `experts.<j>` becomes `experts.<j + first>`. */
export const laterExperts = (first: number, kind: MappingKind): MappingKind => ({
  ...kind,
  relate: (p, names, captures) =>
    kind.relate(p, names.map((n) => n.replace(/(?<=\.experts\.)\d+/, (j) => String(Number(j) + first))), captures)
})

export const stackedGatedExpertOf = (experts: number, pattern: string): RowSource => from(stackedGatedExpert(experts))(pattern)
export const alternatingGatedExpertOf = (packed: PackedExperts, pattern: string): RowSource => from(alternatingGatedExpert(packed))(pattern)
