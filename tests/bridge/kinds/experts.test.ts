/** Kinds of routed experts, of single slices and of gates, read off tensors whose elements are their own numbers. */
import { describe, expect, it } from "vitest"
import { direct, headGatedQkv, packedExpert } from "../../../src/bridge/kinds.ts"
import { pairedQkv, slice, transposed } from "../../../src/bridge/kinds/elementary.ts"
import { alternatingGatedExpert, laterExperts, stackedGatedExpert } from "../../../src/bridge/kinds/experts.ts"
import type { MappingKind } from "../../../src/bridge/Mapping.ts"
import type { Parameter } from "../../../src/model/Parameter.ts"
import { type Shape, volume } from "../../../src/tensor/Copy.ts"

const parameter = (shape: Shape, extra: Partial<Parameter> = {}): Parameter => ({
  kind: "parameter", name: "p", shape, stage: "first", parts: [{ key: "p", shape, at: shape.map(() => 0) }], ...extra
})

/** The parameter's elements as `tensor` and element number, in C order. */
const elementsOf = (kind: MappingKind, p: Parameter, names: ReadonlyArray<string>): ReadonlyArray<string> => {
  const out: Array<string> = []
  for (const { shape, source, target } of kind.relate(p, names, []).copies) {
    for (let i = 0; i < volume(shape); i++) {
      let [from, to, rest] = [source.offset, target.offset, i]
      for (let k = shape.length - 1; k >= 0; k--) {
        from += (rest % shape[k]!) * source.strides[k]!
        to += (rest % shape[k]!) * target.strides[k]!
        rest = Math.floor(rest / shape[k]!)
      }
      out[to] = `${source.tensor}${from}`
    }
  }
  return out
}

const second = { expert: { index: 1, of: 2 } }

describe("routed experts", () => {
  it("alternating rows become gate rows, then up rows", () => {
    const p = parameter([4, 1], second)
    expect(elementsOf(alternatingGatedExpert({ experts: 2, transposed: false }), p, ["x"])).toEqual(["x4", "x6", "x5", "x7"])
  })

  it("gate and up apart lie as they do in one", () => {
    const p = parameter([4, 1], second)
    const { tensors } = packedExpert({ experts: 2, transposed: false, apart: true }).relate(p, ["x"], [])
    expect(tensors).toEqual([{ name: "x", shape: [2, 2, 2, 1] }])
    expect(elementsOf(packedExpert({ experts: 2, transposed: false, apart: true }), p, ["x"])).toEqual(["x4", "x5", "x6", "x7"])
  })

  it("transposed, the alternating rows are columns of the file", () => {
    const p = parameter([4, 2], second)
    // Expert 1 of a tensor [2, 2, 4] starts at element 8; its columns are g0 u0 g1 u1.
    expect(elementsOf(alternatingGatedExpert({ experts: 2, transposed: true }), p, ["x"]))
      .toEqual(["x8", "x12", "x10", "x14", "x9", "x13", "x11", "x15"])
  })

  it("a bias alternates like its weight", () => {
    expect(elementsOf(alternatingGatedExpert({ experts: 2, transposed: false }), parameter([4], second), ["b"])).toEqual(["b4", "b6", "b5", "b7"])
  })

  it("stacked projections give the expert's slice of each", () => {
    expect(elementsOf(stackedGatedExpert(2), parameter([2, 2], second), ["g", "u"])).toEqual(["g2", "g3", "u2", "u3"])
  })

  it("a second set of experts is numbered behind the first", () => {
    const { tensors } = laterExperts(64, direct).relate(parameter([1]), ["layers.3.mlp.experts.5.down_proj.weight"], [])
    expect(tensors[0]!.name).toBe("layers.3.mlp.experts.69.down_proj.weight")
  })

  it("a parameter of no expert is a mistake of the table", () => {
    expect(() => stackedGatedExpert(2).relate(parameter([2, 2]), ["g", "u"], [])).toThrow(/belongs to no expert/)
  })
})

describe("parts and orientations", () => {
  it("a slice is one row of a tensor that several parameters share", () => {
    expect(slice(1, 2).relate(parameter([3]), ["b"], []).tensors).toEqual([{ name: "b", shape: [2, 3] }])
    expect(elementsOf(slice(1, 2), parameter([3]), ["b"])).toEqual(["b3", "b4", "b5"])
  })

  it("a transposed matrix has rows for columns", () => {
    expect(elementsOf(transposed, parameter([2, 3]), ["x"])).toEqual(["x0", "x2", "x4", "x1", "x3", "x5"])
  })
})

it("a gate row per head is repeated for every row of the head, and only the first is read back", () => {
  const p = parameter([12], { attention: { heads: 2, groups: 1, headDim: 2, outputGate: true } })
  expect(elementsOf(headGatedQkv, p, ["q", "k", "v", "g"])).toEqual(["q0", "q1", "q2", "q3", "g0", "g0", "g1", "g1", "k0", "k1", "v0", "v1"])
  const gates = headGatedQkv.relate(p, ["q", "k", "v", "g"], []).copies.filter((c) => c.source.tensor === "g")
  expect(gates.map((c) => c.echo ?? false)).toEqual([false, true])
})

describe("queries and keys by halves", () => {
  it("become pairs, head by head; values stay", () => {
    const p = parameter([12, 1])
    expect(elementsOf(pairedQkv(1), p, ["q", "k", "v"])).toEqual(["q0", "q2", "q1", "q3", "k0", "k2", "k1", "k3", "v0", "v1", "v2", "v3"])
    const bias = parameter([12])
    expect(elementsOf(pairedQkv(2), bias, ["q", "k", "v"]).slice(0, 4)).toEqual(["q0", "q1", "q2", "q3"])
  })
})
