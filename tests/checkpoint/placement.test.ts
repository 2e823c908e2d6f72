/** Placing tensors that no family knows: which rank's file a chunk comes into, and how it is cut. */
import { expect, it } from "vitest"
import { checkpointFiles } from "../../src/checkpoint/CheckpointFiles.ts"
import { place, rankFileName, type TensorToPlace } from "../../src/checkpoint/Placement.ts"
import type { ModuleParallelism } from "../../src/parallel/ModuleParallelism.ts"
import type { Shape } from "../../src/tensor/Copy.ts"

const parallelism: ModuleParallelism = { tp: 2, pp: 2, dp: 2, cp: 1, ep: 2, etp: 1, rankOffset: 0 }
const tensor = (key: string, shape: Shape, more: Partial<TensorToPlace<string>["tensor"]> = {}, stage = 0, beside = false): TensorToPlace<string> =>
  ({ tensor: { name: key, shape, parts: [{ key, shape, at: shape.map(() => 0) }], ...more }, stage, beside, of: key })

const ranks = place([{
  keyPrefix: "m.",
  parallelism,
  states: [{ state: { key: "a._extra_state/shard_0_1", payload: "empty" }, stage: 1, beside: false }],
  tensors: [
    tensor("rows", [4, 3], { splitAxis: 0 }),
    tensor("columns", [3, 4], { splitAxis: 1 }, 1),
    tensor("expert", [5], { expert: { index: 1, of: 2 } }),
    tensor("extra", [2], {}, 0, true)
  ]
}])
const boxes = ranks.map(({ chunks, number, rank, states }) => [
  rankFileName({ rank, number }),
  ...states.map(({ key }) => key),
  ...chunks.map(({ key, of, stored }) => `${key} (${of}) ${stored.offsets} + ${stored.sizes}`)
])

it("a split axis goes over the tensor-parallel ranks, a stage and an expert each have their rank", () => {
  expect(boxes).toEqual([
    ["__0_0.distcp", "m.rows (rows) 0,0 + 2,3"],
    ["__1_0.distcp", "m.rows (rows) 2,0 + 2,3", "m.expert (expert) 0 + 5"],
    ["__4_0.distcp", "m.a._extra_state/shard_0_1", "m.columns (columns) 0,0 + 3,2"],
    ["__5_0.distcp", "m.columns (columns) 0,2 + 3,2"],
    ["__0_1.distcp", "m.extra (extra) 0 + 2"]
  ])
})

it("the index says where every chunk came to lie, and nothing else", () => {
  const { files, metadata } = checkpointFiles(ranks, {
    dtypeOf: () => "F32",
    arrayOf: ({ box, key }, dtype) => ({ id: key, dtype, shape: box.sizes, copies: () => [] }),
    kept: [],
    keptArray: () => { throw new Error("nothing is kept") },
    step: 3
  })
  expect(files.map((f) => f.name)).toEqual(boxes.map(([name]) => name))
  expect([...metadata.tensors].map(([key, { chunks, shape }]) => [key, [...shape], chunks.length])).toEqual([
    ["m.rows", [4, 3], 2], ["m.expert", [5], 1], ["m.columns", [3, 4], 2], ["m.extra", [2], 1]
  ])
  for (const { chunks } of metadata.tensors.values()) {
    for (const { file, length, offset } of chunks) expect(offset + length).toBeLessThanOrEqual(files.find((f) => f.name === file)!.size)
  }
  expect([...metadata.objects.keys()]).toEqual(["common_state/shard_0_1", "m.a._extra_state/shard_0_1"])
})
