/** The two estimators of the trainers, by their vectors. */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { bridgeMemory, megatronLmMemory, type StandardShape } from "../../src/cost/loggedMemory.ts"

type Fields = Readonly<Record<string, unknown>>
const vectors = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8")) as {
  readonly common: Fields
  readonly flops: ReadonlyArray<{ readonly id: string; readonly model: Fields }>
  readonly memory_bytes_megatron_lm: Readonly<Record<string, { readonly states: number; readonly act_sp: number; readonly act_no_sp: number }>>
  readonly memory_bridge: Readonly<Record<string, Readonly<Record<string, number>>>>
}
const model = (id: string, more: Fields = {}): Fields => ({ ...vectors.common, ...vectors.flops.find((f) => f.id === id)!.model, ...more })

const cases: Readonly<Record<string, readonly [Fields, Partial<StandardShape>, bridgeGiB: number]>> = {
  M1: [model("F1", { share_embeddings_and_output_weights: true }), { tp: 8, pp: 8, microBatches: 64, distributedOptimizer: false, sequenceLength: 2048 }, 9.586],
  M1v: [model("F1", { share_embeddings_and_output_weights: true }), { tp: 8, pp: 8, vp: 3, microBatches: 64, distributedOptimizer: false, sequenceLength: 2048 }, 12.3819],
  M2: [model("F2"), { dp: 8, sequenceLength: 8192 }, 36.0704],
  M3: [model("F2"), { tp: 2, pp: 2, cp: 2, dp: 2, microBatches: 16, sequenceLength: 8192 }, 8.0157],
  M4: [model("F3"), { ep: 8, dp: 8, microBatches: 4, sequenceLength: 4096 }, 13.6075],
  M5: [model("F4", { moe_layer_freq: [0, 0, 0, ...new Array<number>(58).fill(1)] }), { tp: 2, pp: 16, ep: 64, dp: 32, microBatches: 64, sequenceLength: 4096 }, 24.1956],
  M6: [model("F5"), { tp: 4, pp: 2, dp: 2, microBatches: 16, sequenceLength: 4096 }, 9.8848],
  M7: [model("F5"), { tp: 4, pp: 2, dp: 2, cp: 2, microBatches: 16, sequenceLength: 4096 }, 4.9424]
}
const shapeOf = (shape: Partial<StandardShape>): StandardShape => ({ tp: 1, pp: 1, dp: 1, microBatch: 1, microBatches: 1, sequenceLength: 4096, distributedOptimizer: true, ...shape })

describe("what Megatron-LM prints", () => {
  it.each(Object.entries(vectors.memory_bytes_megatron_lm))("%s", (id, { act_no_sp, act_sp, states }) => {
    const [c, shape] = cases[id]!
    const found = megatronLmMemory(c, shapeOf(shape))
    expect([found.states, found.activations, found.activationsUnsharded].map(Math.round)).toEqual([states, act_sp, act_no_sp])
  })
})

describe("what Megatron-Bridge prints", () => {
  it.each(Object.entries(vectors.memory_bridge))("%s", (id, wanted) => {
    const [c, shape] = cases[id]!
    const found = bridgeMemory(c, shapeOf(shape))
    const names = { params: "parameters", dense_per_gpu: "densePerRank", bytes_per_param: "denseBytesPerParameter", dense_bytes: "denseBytesPerParameter", experts_per_gpu: "expertsPerRank", expert_bytes: "expertBytesPerParameter" } as const
    for (const [key, value] of Object.entries(wanted)) expect([key, found[names[key as keyof typeof names]]]).toEqual([key, value])
  })

  it.each(Object.entries(cases))("%s: activations", (_, [c, shape, gib]) => {
    expect(bridgeMemory(c, shapeOf(shape)).activations / 2 ** 30).toBeCloseTo(gib, 4)
  })
})
