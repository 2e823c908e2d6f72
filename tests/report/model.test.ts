/** The numbers and boxes of a page, before they are drawn. */
import { describe, expect, it } from "vitest"
import type { DiffReport } from "../../src/diff/diff.ts"
import { differences } from "../../src/report/model/differences.ts"
import { layerPlot, partOf } from "../../src/report/model/layerPlot.ts"
import { folded } from "../../src/report/model/lists.ts"
import { stepRuns } from "../../src/report/model/pack.ts"
import { pictureOf } from "../../src/report/model/pictures.ts"
import { shortRanges } from "../../src/report/model/ranges.ts"
import { type Copy, identity, type View } from "../../src/tensor/Copy.ts"
import { inspectedSpace, sampleSpace } from "./samples.ts"

const view = (tensor: string, offset: number, strides: ReadonlyArray<number>): View => ({ tensor, offset, strides })

describe("the picture of a mapping", () => {
  it("is one box where a tensor is copied", () => {
    expect(pictureOf([identity("a", "b", [6, 4])], [{ name: "a", shape: [6, 4] }], [6, 4])).toEqual({
      sources: [{ shape: [6, 4], rows: 6, columns: 4 }],
      target: { shape: [6, 4], rows: 6, columns: 4 },
      bands: [{ source: 0, from: [0, 0, 6, 4], to: [0, 0, 6, 4], changes: false }],
      total: 1
    })
  })

  it("of a GQA group is q q k v, q q k v", () => {
    // Two groups of two query heads, one row a head, three columns.
    const q: Copy = { shape: [2, 2, 3], source: view("q", 0, [6, 3, 1]), target: view("qkv", 0, [12, 3, 1]) }
    const k: Copy = { shape: [2, 3], source: view("k", 0, [3, 1]), target: view("qkv", 6, [12, 1]) }
    const v: Copy = { shape: [2, 3], source: view("v", 0, [3, 1]), target: view("qkv", 9, [12, 1]) }
    const { bands } = pictureOf([q, k, v], [{ name: "q", shape: [4, 3] }, { name: "k", shape: [2, 3] }, { name: "v", shape: [2, 3] }], [8, 3])
    expect(bands.map((b) => [b.source, b.from[0], b.from[2], b.to[0], b.to[2]])).toEqual([
      [0, 0, 2, 0, 2], [0, 2, 2, 4, 2], [1, 0, 1, 2, 1], [1, 1, 1, 6, 1], [2, 0, 1, 3, 1], [2, 1, 1, 7, 1]
    ])
  })

  it("of one expert of a packed tensor is its slab", () => {
    const copy: Copy = { shape: [4, 5], source: view("packed", 2 * 20, [5, 1]), target: view("expert", 0, [5, 1]) }
    const { bands, sources } = pictureOf([copy], [{ name: "packed", shape: [3, 4, 5] }], [4, 5])
    expect(sources[0]).toMatchObject({ rows: 3, columns: 20 })
    expect(bands).toEqual([{ source: 0, from: [2, 0, 1, 20], to: [0, 0, 4, 5], changes: false }])
  })

  it("of a transposition is the whole on both sides; of columns, columns", () => {
    const turned: Copy = { shape: [2, 3], source: view("a", 0, [3, 1]), target: view("b", 0, [1, 2]) }
    expect(pictureOf([turned], [{ name: "a", shape: [2, 3] }], [3, 2]).bands).toEqual([{ source: 0, from: [0, 0, 2, 3], to: [0, 0, 3, 2], changes: false }])
    const right: Copy = { shape: [4, 2], source: view("a", 0, [2, 1]), target: view("b", 3, [5, 1]) }
    expect(pictureOf([right], [{ name: "a", shape: [4, 2] }], [4, 5]).bands).toEqual([{ source: 0, from: [0, 0, 4, 2], to: [0, 3, 4, 2], changes: false }])
  })

  it("covers every element of the target once, and lists no more boxes than anyone can see", () => {
    // Even rows from the first half, odd ones from the second.
    const shape = [1000, 7]
    const half: Copy = { shape: [500, 7], source: view("a", 0, [7, 1]), target: view("b", 0, [14, 1]) }
    const other: Copy = { shape: [500, 7], source: view("a", 3500, [7, 1]), target: view("b", 7, [14, 1]) }
    const picture = pictureOf([half, other], [{ name: "a", shape }], shape)
    expect(picture.total).toBe(1000)
    expect(picture.bands.length).toBeLessThan(200)
    const small = pictureOf([{ ...half, shape: [5, 7] }, { ...other, shape: [5, 7], source: view("a", 35, [7, 1]) }], [{ name: "a", shape: [10, 7] }], [10, 7])
    expect(small.bands.map((b) => b.to[0]).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  })
})

describe("folded lists", () => {
  const rows = [0, 1, 2, 5].map((n) => ({ name: `layers.${n}.w`, dtype: n === 5 ? "F32" : "BF16" })).concat({ name: "head", dtype: "BF16" })

  it("have a line for what differs in numbers only", () => {
    expect(folded(rows, { name: (r) => r.name, identity: (r) => r.dtype, cells: (own) => [own[0].dtype, String(own.length)] })).toEqual([
      { label: "layers.{0-2}.w", cells: ["BF16", "3"], rows: [0, 1, 2] },
      { label: "layers.5.w", cells: ["F32", "1"], rows: [3] },
      { label: "head", cells: ["BF16", "1"], rows: [4] }
    ])
  })

  it("give their rows as runs", () => {
    expect(stepRuns([0, 10, 20, 30, 31, 32, 40])).toEqual([0, 10, 4, 31, 1, 2, 40, 1, 1])
    expect(stepRuns([7])).toEqual([7, 1, 1])
    expect(stepRuns([])).toEqual([])
  })

  it("say ranges shortly", () => {
    expect(shortRanges([0, 1, 2, 7])).toBe("0-2,7")
    expect(shortRanges(Array.from({ length: 24 }, (_, k) => k * 4))).toBe("0,4,… 92")
  })
})

describe("sizes by layer", () => {
  it.each([
    ["decoder.layers.0.self_attention.linear_qkv.weight", "attention"], ["model.layers.0.self_attn.q_proj.weight", "attention"], ["model.layers.0.linear_attn.A_log", "attention"],
    ["decoder.layers.0.mlp.linear_fc1.weight", "MLP"], ["model.layers.0.mlp.shared_expert.up_proj.weight", "MLP"], ["decoder.layers.0.mlp.experts.experts.linear_fc1.weight", "experts"],
    ["model.layers.0.mlp.experts.3.up_proj.weight", "experts"], ["decoder.layers.0.pre_mlp_layernorm.weight", "other"], ["decoder.layers.0.self_attention.linear_qkv.layer_norm_weight", "other"]
  ])("%s is %s", (name, part) => expect(partOf(name)).toBe(part))

  it("add up to the layers of inspect", () => {
    const i = inspectedSpace(sampleSpace({ layers: 7, perLayer: 3, ranks: 2 }))
    const { most, stacks } = layerPlot(i)
    expect(stacks.map((s) => s.columns.map((c) => c.total))).toEqual([i.layers.map((l) => l.bytes)])
    expect(most).toBe(i.layers[0]!.bytes)
  })

  it("has no more columns than a screen, whatever there is", () => {
    const { stacks } = layerPlot(inspectedSpace(sampleSpace({ layers: 3000, perLayer: 1, ranks: 2 })))
    expect(stacks[0]!.columns.length).toBeLessThan(300)
    expect(stacks[0]!.layers).toBe(3000)
  })
})

describe("differences", () => {
  const distance = (relative: number | undefined, differing = 1) => ({ elements: 10, differing, ...(relative === undefined ? {} : { relative }) })
  const one = { dtype: "BF16", shape: [2] } as const
  const report: DiffReport = {
    left: "a", right: "b", total: 6, equal: 1, compared: true, counts: { missing: 1, extra: 0, shape: 0, dtype: 0, values: 4 }, notes: [],
    tensors: [
      { name: "model.layers.0.q.weight", kind: "values", component: "language", left: one, right: one, distance: distance(0.5) },
      { name: "model.layers.2.q.weight", kind: "values", component: "language", left: one, right: one, distance: distance(0.25) },
      { name: "model.layers.2.k.weight", kind: "values", component: "language", left: one, right: one, distance: distance(undefined, 2) },
      { name: "head", kind: "values", component: "language", left: one, right: one, distance: distance(0.75) },
      { name: "visual.x", kind: "missing", component: "vision", left: one }
    ]
  }

  it("are summed by component and mapped by module and layer", () => {
    expect(differences(report)).toEqual({
      components: [
        { component: "language", counts: { missing: 0, extra: 0, shape: 0, dtype: 0, values: 4 } },
        { component: "vision", counts: { missing: 1, extra: 0, shape: 0, dtype: 0, values: 0 } }
      ],
      maps: [{
        stack: "model.layers", columns: ["0", "2"], left: 0,
        rows: [
          { label: "q.weight", cells: [{ relative: 0.5, tensors: 1 }, { relative: 0.25, tensors: 1 }] },
          // Without a norm: the share of elements that differ.
          { label: "k.weight", cells: [undefined, { relative: 0.2, tensors: 1 }] }
        ]
      }]
    })
  })

  it("of many layers and modules stay a map that can be looked at", () => {
    const tensors = Array.from({ length: 60 * 200 }, (_, k) => ({ name: `h.${k % 200}.m${Math.floor(k / 200)}.w`, kind: "values" as const, component: "model", left: one, right: one, distance: distance(k / 1e6) }))
    const [map] = differences({ ...report, tensors }).maps
    expect(map!.columns.length).toBeLessThanOrEqual(100)
    expect(map!.rows.length).toBeLessThan(60)
    expect(map!.left).toBe(60 - map!.rows.length)
  })
})
