/** One model through the conventions of both bridges, from either format, in every way to be packed. */
import { rmSync } from "node:fs"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type HfWeight, WeightBridge, type WeightBridgeOptions } from "../../src/index.ts"
import { type ToyModel, toyModel } from "./toyModel.ts"

const collect = async (weights: AsyncIterable<HfWeight>): Promise<ReadonlyMap<string, string>> => {
  const found = new Map<string, string>()
  for await (const { bytes, dtype, name, shape } of weights) {
    expect(found.has(name), name).toBe(false)
    found.set(name, `${dtype} [${shape.join()}] ${Buffer.from(bytes).toString("base64")}`)
  }
  return found
}

const sorted = (weights: ReadonlyMap<string, string>) => [...weights].sort(([a], [b]) => (a < b ? -1 : 1))

describe.each([
  ["bailing-moe-v2.5", true, { pp: 2 }],
  ["deepseek-v3-nomtp", true, { pp: 1 }],
  ["glm-4.5v-packed", false, {}],
  ["glm-4.5-packed", true, { ep: 2 }]
] as const)("%s", (name, standard, layout) => {
  let model: ToyModel
  const opened = (options: WeightBridgeOptions) => WeightBridge.fromPretrained(model.hf, { ...layout, ...options })
  const checkpoint = (bridgeType: "mbridge" | "megatron-bridge") => opened({ bridgeType, load: { format: "dist_ckpt", path: model.megatron } })
  beforeAll(async () => { model = await toyModel(name, standard) })
  afterAll(() => rmSync(model.work, { recursive: true }))

  it("both give the same tensors with the same bytes, from the checkpoint and from the directory", async () => {
    const [ours, theirs] = [await collect((await checkpoint("mbridge")).exportWeights()), await collect((await checkpoint("megatron-bridge")).exportHfWeights())]
    expect(sorted(ours)).toEqual(sorted(theirs))
    expect(sorted(await collect((await opened({ bridgeType: "mbridge" })).exportWeights()))).toEqual(sorted(ours))
  })

  it("a stream goes on from any name, and is the same each time", async () => {
    const bridge = await checkpoint("megatron-bridge")
    const whole = [...await collect(bridge.exportHfWeights())]
    for (const at of [0, 1, Math.floor(whole.length / 2), whole.length - 1]) {
      expect([...await collect(bridge.exportHfWeights({ from: whole[at]![0] }))]).toEqual(whole.slice(at))
    }
    await expect(collect(bridge.exportHfWeights({ from: "no.such.weight" }))).rejects.toMatchObject({ _tag: "UsageError" })
  })

  it("buckets hold whole tensors without gaps, and end by the rule of whoever takes them", async () => {
    const bridge = await checkpoint("mbridge")
    const whole = [...await collect(bridge.exportWeights())]
    const largest = Math.max(...(await bridge.weightPlan()).outputs.map(({ bytes }) => bytes))
    for (const packing of ["packed", "fitting", "bounded"] as const) {
      const limit = largest + 100
      const found: Array<[string, string]> = []
      let count = 0
      for await (const { bytes, index, tensors } of bridge.streamBuckets({ bucketBytes: limit, packing })) {
        expect(index).toBe(count++)
        expect(tensors.reduce((end, { length, offset }) => (expect(offset).toBe(end), end + length), 0)).toBe(bytes.byteLength)
        if (packing === "packed") expect(bytes.byteLength - tensors.at(-1)!.length).toBeLessThanOrEqual(limit)
        else expect(bytes.byteLength).toBeLessThanOrEqual(limit)
        if (packing === "fitting") expect(new Set(tensors.map(({ dtype }) => dtype)).size).toBe(1)
        for (const { dtype, length, name: own, offset, shape } of tensors) found.push([own, `${dtype} [${shape.join()}] ${Buffer.from(bytes.subarray(offset, offset + length)).toString("base64")}`])
      }
      expect(found).toEqual(whole)
    }
    await expect((async () => { for await (const _ of bridge.streamBuckets({ bucketBytes: largest - 1, packing: "bounded" })); })()).rejects.toMatchObject({ _tag: "UsageError" })
  })

  it("stages of the pipeline share the stream among them; frozen tensors may stay out", async () => {
    const bridge = await checkpoint("mbridge")
    const whole = [...await collect(bridge.exportWeights())]
    const stages = [...new Set((await bridge.getConversionTasks()).map(({ ppRank }) => ppRank))].sort()
    const parts: Array<[string, string]> = []
    for (const ppRank of stages) parts.push(...await collect(bridge.exportWeights({ ppRank })))
    const beside = (await bridge.weightPlan()).outputs.length - parts.length
    expect(sorted(new Map(parts))).toEqual(sorted(new Map(whole.filter(([own]) => parts.some(([part]) => part === own)))))
    expect(parts.length + beside).toBe(whole.length)
    const frozen = await bridge.withOverrides({ freeze: ["language"] })
    const names = new Set([...await collect(frozen.exportWeights({ trainableOnly: true }))].map(([own]) => own))
    expect(names.size).toBeLessThan(whole.length)
    expect((await frozen.getConversionTasks()).filter(({ component, globalParamName, trainable }) => trainable && (component === "language" || standard) && !globalParamName.endsWith("router.expert_bias"))).toEqual([])
  })
})
