/** Pieces of tensors: cut, sliced, stacked, joined, always the same elements. */
import { describe, expect, it } from "vitest"
import { concatenate, type Draft, draftOf, type DraftTensor, isWhole, modelKeyOf, range, rename, rewrite, sliceAt, stack } from "../../src/relabel/Draft.ts"
import { toMimo, toStandard } from "../../src/relabel/rules/components.ts"
import { toDdp, toPlain } from "../../src/relabel/rules/wrapper.ts"
import { toIndexed } from "../../src/relabel/rules/layers.ts"
import type { DcpMetadata, StoredChunk } from "../../src/torch/DcpMetadata.ts"
import { random } from "../tensor/random.ts"

const chunk = (offsets: ReadonlyArray<number>, sizes: ReadonlyArray<number>, offset = 0): StoredChunk => ({ offsets, sizes, file: "__0_0.distcp", offset, length: 100 })

const metadata = (tensors: Record<string, { shape: ReadonlyArray<number>; chunks: ReadonlyArray<StoredChunk> }>): DcpMetadata =>
  ({ className: "x", tensors: new Map(Object.entries(tensors).map(([k, t]) => [k, { dtype: "BF16", ...t }])), objects: new Map() })

const tensorOf = (shape: ReadonlyArray<number>, ...chunks: ReadonlyArray<StoredChunk>): DraftTensor =>
  draftOf(metadata({ t: { shape, chunks } })).tensors.get("t")!

/** Which element of which item each element of a tensor is: `file offset/address in the item`. */
const elements = (tensor: DraftTensor): ReadonlyArray<string> => {
  const out: Array<string | undefined> = Array.from({ length: tensor.shape.reduce((a, b) => a * b, 1) })
  const strides = (shape: ReadonlyArray<number>) => shape.map((_, k) => shape.slice(k + 1).reduce((a, b) => a * b, 1))
  const own = strides(tensor.shape)
  for (const { axes, item, offsets, sizes, start } of tensor.pieces) {
    const inItem = strides(item.sizes)
    const count = sizes.reduce((a, b) => a * b, 1)
    for (let n = 0; n < count; n++) {
      let rest = n
      let target = 0
      let source = start.reduce((sum, s, k) => sum + s * inItem[k]!, 0)
      for (let k = sizes.length - 1; k >= 0; k--) {
        const i = rest % sizes[k]!
        rest = (rest - i) / sizes[k]!
        target += (offsets[k]! + i) * own[k]!
        if (axes[k] !== undefined) source += i * inItem[axes[k]!]!
      }
      expect(out[target]).toBeUndefined()
      out[target] = `${item.offset}/${source}`
    }
  }
  expect(out.every((e) => e !== undefined)).toBe(true)
  return out as ReadonlyArray<string>
}

describe("pieces", () => {
  it("a layer out of a stack is a new item, unless its item has the shape already", () => {
    const stacked = tensorOf([2, 3], chunk([0, 0], [1, 3]), chunk([1, 0], [1, 3], 100))
    const layer = sliceAt(stacked, 0, 1)
    expect(layer.shape).toEqual([3])
    expect(layer.pieces.map(isWhole)).toEqual([false])
    expect(elements(layer)).toEqual(["100/0", "100/1", "100/2"])
    expect(stack([sliceAt(stacked, 0, 0), layer]).pieces.map(isWhole)).toEqual([true, true])
  })

  it("a chunk that holds several layers is cut", () => {
    const stacked = tensorOf([4, 2], chunk([0, 0], [3, 2]), chunk([3, 0], [1, 2], 100))
    expect(elements(sliceAt(stacked, 0, 2))).toEqual(["0/4", "0/5"])
    expect(elements(sliceAt(stacked, 0, 3))).toEqual(["100/0", "100/1"])
  })

  it("gate and up halves come from whatever chunks they lie in", () => {
    const fc1 = tensorOf([4, 2], chunk([0, 0], [3, 2]), chunk([3, 0], [1, 2], 100))
    expect(elements(range(fc1, 0, 0, 2))).toEqual(["0/0", "0/1", "0/2", "0/3"])
    expect(elements(range(fc1, 0, 2, 4))).toEqual(["0/4", "0/5", "100/0", "100/1"])
  })

  it("whatever is taken apart is the same when it is put together", () => {
    const next = random(11)
    for (let round = 0; round < 200; round++) {
      const shape = [1 + next(4), 2 * (1 + next(3)), 1 + next(3)]
      const cutsAt = (n: number) => [...new Set([0, next(n), next(n), n])].sort((a, b) => a - b)
      const [xs, ys] = [cutsAt(shape[0]!), cutsAt(shape[1]!)]
      const chunks: Array<StoredChunk> = []
      for (let i = 0; i + 1 < xs.length; i++) {
        for (let j = 0; j + 1 < ys.length; j++) chunks.push(chunk([xs[i]!, ys[j]!, 0], [xs[i + 1]! - xs[i]!, ys[j + 1]! - ys[j]!, shape[2]!], chunks.length * 100))
      }
      const tensor = tensorOf(shape, ...chunks)
      const before = elements(tensor)
      const layers = Array.from({ length: shape[0]! }, (_, i) => sliceAt(tensor, 0, i))
      expect(elements(stack(layers))).toEqual(before)
      const half = shape[1]! / 2
      expect(elements(concatenate([range(tensor, 1, 0, half), range(tensor, 1, half, 2 * half)], 1))).toEqual(before)
      const again = layers.map((l) => concatenate([range(l, 0, 0, half), range(l, 0, half, 2 * half)], 0))
      expect(elements(stack(again))).toEqual(before)
    }
  })
})

describe("keys", () => {
  it.each([
    ["decoder.x", { space: "", key: "decoder.x" }],
    ["optimizer.state.exp_avg.decoder.x", { space: "optimizer.state.exp_avg.", key: "decoder.x" }],
    ["chained_0.optimizer.state.fp32_param.decoder.x", { space: "chained_0.optimizer.state.fp32_param.", key: "decoder.x" }],
    ["optimizer.distributed.dp_group_idx_0.gbuf_idx_0.bucket_idx_0.param", undefined],
    ["rng_state/shard_0.0_1.1", undefined],
    ["hf_source.lm_head.weight", undefined],
    ["common_state/shard_0_1", undefined]
  ])("%s belongs to %j", (key, expected) => {
    expect(modelKeyOf(key)).toEqual(expected)
  })

  it("renaming keeps the order, and two entries never become one", () => {
    const draft: Draft = draftOf(metadata({ a: { shape: [1], chunks: [chunk([0], [1])] }, b: { shape: [1], chunks: [chunk([0], [1])] } }))
    expect([...rename(draft, (key) => (key === "a" ? "z" : key)).tensors.keys()]).toEqual(["z", "b"])
    expect([...rename(draft, (key) => (key === "a" ? "b" : "a")).tensors.keys()]).toEqual(["b", "a"])
    expect(() => rename(draft, () => "x")).toThrow("two entries would have the same key")
    expect(() => rewrite(draft, { tensor: (_, t) => [["x", t], ["x", t]] })).toThrow("two entries would have the same key")
  })

  it("flat fragments of an optimizer stay behind, and that is said", () => {
    const entry = { dtype: "F32" as const, shape: [1, 8], chunks: [chunk([0, 0], [1, 8])] }
    const draft = draftOf({ className: "", tensors: new Map([["a", entry], ["optimizer.state.exp_avg.a", entry]]), objects: new Map(), flattened: new Map([["optimizer.state.exp_avg.a", [8]]]) })
    expect([...draft.tensors.keys()]).toEqual(["a"])
    expect(draft.notes.join()).toContain("1 optimizer tensors in flat fragments are left behind")
  })

  it("standard and MIMO move the states of the optimizer with their tensors", () => {
    const keys = ["language_model.module.a", "modality_submodules.images.module.encoders.vit.b"]
    const states = ["mimo.language.optimizer.state.param.language_model.module.a", "mimo.images.optimizer.state.param.modality_submodules.images.module.encoders.vit.b"]
    const entry = { shape: [8], chunks: [chunk([0], [8])] }
    const components = [
      { name: "language", sourcePrefix: "language_model.", targetModulePath: "language_model" },
      { name: "images", sourcePrefix: "tower.", targetModulePath: "modality_submodules.images.encoders.vit" }
    ]
    const context = { components: { components }, runConfig: undefined }
    const mimo = draftOf(metadata(Object.fromEntries([...keys, ...states].map((key) => [key, entry]))))
    const plain = toPlain(mimo, context)
    expect([...plain.tensors.keys()].filter((key) => key.includes("module."))).toEqual([])
    const standard = toStandard(plain, context)
    expect([...standard.tensors.keys()]).toEqual(["language_model.a", "tower.b", "optimizer.state.param.language_model.a", "optimizer.state.param.tower.b"])
    expect([...toDdp(toMimo(standard, context), context).tensors.keys()]).toEqual([...keys, ...states])
  })

  it("a stack of a billion layers is no model", () => {
    const draft = draftOf(metadata({ "decoder.layers.x": { shape: [1e9, 1], chunks: [chunk([0, 0], [1e9, 1])] } }))
    expect(() => toIndexed(draft, { components: { components: [] }, runConfig: undefined })).toThrow("which no model has")
  })
})
