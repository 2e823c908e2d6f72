/** Facts of adapter arithmetic, computed with torch and checked against peft's own formulas: splits, blocks, packed experts, merges. */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { adjustment } from "../../src/adapters/merge/adjustment.ts"
import { changedRows, type Rounding } from "../../src/adapters/merge/addTerms.ts"
import { termOf, type Value } from "../../src/adapters/merge/Term.ts"
import { fusedPair } from "../../src/adapters/StoredPair.ts"
import { adapterParameters, commonScale, planAdapters } from "../../src/adapters/importDraft.ts"
import { targetOf, type PeftPair, peftPair } from "../../src/adapters/peftPair.ts"
import type { BoundAdapter } from "../../src/adapters/bindPeft.ts"
import { inputCopies, outputCopies } from "../../src/adapters/relate.ts"
import { narrowed, widened } from "../../src/arithmetic/convert.ts"
import { makeSimd } from "../../src/arithmetic/simd.ts"
import { plain } from "../../src/arithmetic/plain.ts"
import type { BoundParameter } from "../../src/bridge/Conversion.ts"
import { concatenatedQkvOf, gatedMlpOf, packedExpertOf, qkvOf } from "../../src/bridge/kinds.ts"
import type { RowSource } from "../../src/bridge/Mapping.ts"
import { MappingRegistry } from "../../src/bridge/Registry.ts"
import { fillWeights } from "../../src/conformance/WeightGenerator.ts"
import type { Parameter } from "../../src/model/Parameter.ts"
import { type Copy, type Shape, volume } from "../../src/tensor/Copy.ts"

const FACTS = new URL("../fixtures/adapters/", import.meta.url)

interface Tensor {
  readonly shape: ReadonlyArray<number>
  readonly sha256: string
  readonly name?: string
}

interface Fact {
  readonly case: string
  readonly params: Readonly<Record<string, number & boolean>>
  readonly inputs: Readonly<Record<string, Tensor>>
  readonly outputs: Readonly<Record<string, Tensor>>
}

const facts = readdirSync(FACTS).filter((name) => name.endsWith(".json")).map((name) => JSON.parse(readFileSync(new URL(name, FACTS), "utf8")) as Fact)
const fact = (name: string): Fact => facts.find((f) => f.case === name)!

const generated = (name: string, shape: Shape): Uint8Array => {
  const bytes = new Uint8Array(2 * volume(shape))
  fillWeights(bytes, name, "BF16", 0, { fp32Islands: false })
  return bytes
}
const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex")

const valuesOf = ({ inputs }: Fact): Map<string, Value> =>
  new Map(Object.entries(inputs).map(([key, { name = key, shape }]) => [key, { dtype: "BF16", shape, bytes: generated(name, shape) }]))

/** Copies carried out element by element, in either direction. */
const run = (copies: ReadonlyArray<Copy>, values: ReadonlyMap<string, Value>, shape: Shape, back = false): Uint8Array => {
  const out = new Uint8Array(2 * volume(shape))
  for (const { shape: extents, source, target, transform } of copies) {
    const [from, to] = back ? [target, source] : [source, target]
    const index = extents.map(() => 0)
    for (let n = 0; n < volume(extents); n++) {
      const at = (view: typeof from) => index.reduce((sum, i, axis) => sum + i * view.strides[axis]!, view.offset)
      const bytes = transform?.kind === "fill" ? Uint8Array.of(0, 0) : values.get(from.tensor)!.bytes.subarray(2 * at(from), 2 * at(from) + 2)
      out.set(bytes, 2 * at(to))
      for (let axis = extents.length - 1; axis >= 0 && ++index[axis]! === extents[axis]; axis--) index[axis] = 0
    }
  }
  return out
}

/** A linear weight of a model whose mapping row is `row`. */
const bound = (name: string, shape: Shape, { hf, kind }: RowSource, more: Partial<Parameter> = {}): BoundParameter => {
  const parameter: Parameter = { kind: "parameter", name, shape, parts: [{ key: name, shape, at: shape.map(() => 0) }], stage: "first", ...more }
  const registry = new MappingRegistry([])
  const { copies, tensors } = kind.relate(parameter, hf, [])
  return { module: { name: "model", keyPrefix: "", entries: [], registry }, parameter, copies, tensors: tensors.map((t) => ({ ...t, mtp: false, shared: false })), kind: kind.name }
}

describe.each(facts.filter((f) => f.case.startsWith("qkv-")).map((f) => [f.case, f] as const))("%s", (_, f) => {
  it("B is split by the base's own rows, A is repeated", () => {
    const { attentionOutputGate: outputGate = false, groups, headDim, heads, hidden, rank } = f.params as never as Record<string, number>
    const rows = (heads! * (outputGate ? 2 : 1) + 2 * groups!) * headDim!
    const base = "decoder.layers.0.self_attention.linear_qkv"
    const pair = fusedPair(bound(`${base}.weight`, [rows, hidden!], qkvOf("model.layers.0.self_attn.{q,k,v}_proj.weight"), {
      attention: { heads: heads!, groups: groups!, headDim: headDim!, ...(outputGate ? { outputGate: true } : {}) }
    }))
    const values = valuesOf(f)
    for (const factor of pair.factors) {
      const own = peftPair(factor.matrix, `base_model.model.${targetOf(factor.matrix).path}`, rank!)
      const ranks = { count: rank!, hf: 0, stored: 0, of: rank! }
      expect(sha(run(inputCopies(factor, own, ranks, hidden!, `${base}.adapter.linear_in.weight`), values, own.input.shape, true))).toBe(f.outputs[own.input.tensor]!.sha256)
      expect(sha(run(outputCopies(factor, own, ranks, `${base}.adapter.linear_out.weight`), values, own.output.shape, true))).toBe(f.outputs[own.output.tensor]!.sha256)
    }
  })
})

it("gate and up are the halves of the stored B, whatever each rank holds in memory", () => {
  const f = fact("fc1-tp2")
  const { ffn, hidden, rank } = f.params as never as { ffn: number; hidden: number; rank: number }
  const base = "decoder.layers.0.mlp.linear_fc1"
  const pair = fusedPair(bound(`${base}.weight`, [2 * ffn, hidden], gatedMlpOf("model.layers.0.mlp.{gate,up}_proj.weight")))
  for (const factor of pair.factors) {
    const own = peftPair(factor.matrix, `base_model.model.${targetOf(factor.matrix).path}`, rank)
    const copies = outputCopies(factor, own, { count: rank, hf: 0, stored: 0, of: rank }, `${base}.adapter.linear_out.weight`)
    expect(sha(run(copies, valuesOf(f), own.output.shape, true))).toBe(f.outputs[own.output.tensor]!.sha256)
  }
})

it("adapters of q, k and v with different A become one, in blocks", () => {
  const f = fact("compose-qkv")
  const { fusedAlpha, fusedRank, groups, headDim, heads, hidden, rank } = f.params as never as Record<string, number>
  const weight = bound("linear_qkv.weight", [(heads! + 2 * groups!) * headDim!, hidden!], qkvOf("q{q,k,v}.weight"), { attention: { heads: heads!, groups: groups!, headDim: headDim! } })
  const adapters = new Map(fusedPair(weight).factors.map(({ matrix }): [string, BoundAdapter] => {
    const named = (p: PeftPair): PeftPair => ({ input: { ...p.input, tensor: `${targetOf(matrix).path}.lora_A` }, output: { ...p.output, tensor: `${targetOf(matrix).path}.lora_B` } })
    return [matrix.tensor, { ...targetOf(matrix), tensor: matrix.tensor, rank: rank!, scale: f.params["alpha"]! / rank!, matrices: {} as never, pairOf: (m) => named(peftPair(m, "", rank!)) }]
  }))
  const plan = planAdapters([weight], adapters, "lora", () => false)
  const common = commonScale(plan.pairs)
  expect(common).toMatchObject({ rank: fusedRank, alpha: fusedAlpha })
  for (const { copies, parameter } of adapterParameters(plan.pairs[0]!, common, 1)) {
    const expected = f.outputs[parameter.parts[0]!.key]!
    expect(parameter.shape).toEqual(expected.shape)
    expect(sha(run(copies, valuesOf(f), parameter.shape))).toBe(expected.sha256)
  }
})

it.each(["expert3d-plain", "expert3d-transposed"])("%s: packed experts are stored as peft reads them", (name) => {
  const f = fact(name)
  const { experts, in: input, isTransposed, out, rank } = f.params as never as { experts: number; in: number; isTransposed: boolean; out: number; rank: number }
  const outputs = new Map<string, Uint8Array>()
  for (let e = 0; e < experts; e++) {
    const pair = fusedPair(bound(`mlp.experts.linear_fc1.weight${e}`, [out, input], packedExpertOf({ experts, transposed: isTransposed }, "experts.w"), {
      expert: { index: e, of: experts },
      parts: [{ key: "experts.weight", shape: [experts, out, input], at: [e, 0, 0] }]
    }))
    const [factor] = pair.factors
    const own = peftPair(factor!.matrix, "", rank)
    const ranks = { count: rank, hf: 0, stored: 0, of: rank }
    const values = new Map(Object.entries(f.inputs).map(([key, { shape }]) => [key, { dtype: "BF16", shape, bytes: generated(key, shape).subarray((2 * e * volume(shape)) / experts, (2 * (e + 1) * volume(shape)) / experts) } as Value]))
    for (const [view, copies] of [
      [own.input, inputCopies(factor!, own, ranks, input, "experts.linear_in")],
      [own.output, outputCopies(factor!, own, ranks, "experts.linear_out")]
    ] as const) {
      const bytes = run(copies, values, view.shape, true)
      const known = outputs.get(view.tensor)
      // Each expert fills elements of its own.
      outputs.set(view.tensor, known ? Uint8Array.from(known, (byte, i) => byte | bytes[i]!) : bytes)
    }
  }
  for (const [key, { sha256 }] of Object.entries(f.outputs)) expect(sha(outputs.get(`.${key}`)!), key).toBe(sha256)
})

const ROUNDINGS: ReadonlyArray<readonly [prefix: string, rounding: Rounding]> = [["bridge", "bridge"], ["sequential", "bridge"], ["float64", "precise"], ["peft", "peft"], ["all in bf16", "stepwise"]]

describe.each(facts.filter((f) => f.case.startsWith("merge-")).map((f) => [f.case, f] as const))("%s", (_, f) => {
  it.each([["simd", makeSimd()], ["plain", plain]] as const)("every order of operations has its bits (%s)", (_, arithmetic) => {
    const { in: columns, out: rows, rank, scale } = f.params as never as Record<string, number>
    const values = valuesOf(f)
    const matrix = { tensor: "W", shape: [rows!, columns!], rows: rows!, columns: columns!, transposed: false }
    const view = (tensor: string, stride: number, rankStride: number) => ({ tensor, shape: [], offset: 0, rankStride, stride })
    const term = termOf(values, matrix, { input: view("A", 1, columns!), output: view("B", rank!, 1) }, rank!, scale!)
    for (const [key, { sha256 }] of Object.entries(f.outputs)) {
      const rounding = ROUNDINGS.find(([prefix]) => key.startsWith(prefix))![1]
      // However blocks cut the tensor.
      for (const block of [2 * rows! * columns!, 2 * 7, 2 * (columns! + 3)]) {
        const bytes = Uint8Array.from(values.get("W")!.bytes)
        const adjust = adjustment({ arithmetic, dtype: "BF16", rounding, rowFactorsOf: () => undefined }, [{ rows: rows!, columns: columns!, terms: [term] }])
        for (let at = 0; at < bytes.byteLength; at += block) adjust(bytes.subarray(at, Math.min(bytes.byteLength, at + block)), at / 2)
        expect(sha(bytes), `${key}, ${block}`).toBe(sha256)
      }
    }
  })
})

it("DoRA gives every row its length", () => {
  const f = fact("dora")
  const { alpha, in: columns, out: rows, rank } = f.params as never as Record<string, number>
  const values = valuesOf(f)
  const magnitude = widened({ dtype: "BF16", bytes: values.get("o.weight_magnitude")!.bytes }).map((x) => Math.abs(x) + 0.5)
  values.set("o.weight_magnitude", { dtype: "BF16", shape: [rows!], bytes: narrowed(magnitude, "BF16") })
  const matrix = { tensor: "o.weight", shape: [rows!, columns!], rows: rows!, columns: columns!, transposed: false }
  const view = (tensor: string, stride: number, rankStride: number) => ({ tensor, shape: [], offset: 0, rankStride, stride })
  const pair = { input: view("o.linear_in", 1, columns!), output: view("o.linear_out", rank!, 1), magnitude: { tensor: "o.weight_magnitude", shape: [rows!] } }
  const term = termOf(values, matrix, pair, rank!, alpha! / rank!)
  const arithmetic = makeSimd()
  const sums = changedRows(arithmetic, { dtype: "BF16", columns: columns!, first: 0, bytes: values.get("o.weight")!.bytes }, rows!, term)
  const lengths = widened(term.magnitude!)
  const factors = Float32Array.from({ length: rows! }, (_, i) => lengths[i]! / Math.fround(Math.hypot(...sums.subarray(i * columns!, (i + 1) * columns!))))
  const merged = (dora: boolean): string => {
    const bytes = Uint8Array.from(values.get("o.weight")!.bytes)
    adjustment({ arithmetic, dtype: "BF16", rounding: "bridge", rowFactorsOf: () => (dora ? factors : undefined) }, [{ rows: rows!, columns: columns!, terms: [term] }])(bytes, 0)
    return sha(bytes)
  }
  expect(merged(true)).toBe(f.outputs["merged"]!.sha256)
  expect(merged(false)).toBe(f.outputs["plainLora"]!.sha256)
})

it("one HF tensor of q, k and v has one adapter", () => {
  const attention = { heads: 4, groups: 2, headDim: 2 }
  const { factors } = fusedPair(bound("linear_qkv.weight", [16, 3], concatenatedQkvOf("qkv.weight"), { attention }))
  expect(factors).toHaveLength(1)
  expect(factors[0]!.matrix).toMatchObject({ rows: 16, columns: 3, transposed: false })
})
