/** The names that frameworks use, options that are held against one another, experts one by one, and FP8 on the way. */
import { rmSync } from "node:fs"
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from "vitest"
import { type HfWeight, type MegatronWeight, WeightBridge, type WeightConversionTask } from "../../src/index.ts"
import { valuesOf } from "../../src/tensor/kernels/codes.ts"
import { f32OfBits } from "../../src/tensor/kernels/float.ts"
import { families } from "../../routes/index.ts"
import { type ToyModel, toyModel } from "./toyModel.ts"

let model: ToyModel
beforeAll(async () => { model = await toyModel("glm-4.5-packed") })
afterAll(() => rmSync(model.work, { recursive: true }))

const all = async <T>(values: AsyncIterable<T>): Promise<ReadonlyArray<T>> => {
  const found: Array<T> = []
  for await (const value of values) found.push(value)
  return found
}

describe("every name of both bridges", () => {
  it.each([
    ["mbridge", ["hfConfig", "config", "setExtraArgs", "dtype", "getModel", "loadWeights", "saveWeights", "exportWeights", "exportWeightsWithoutGather"], ["fromPretrained", "fromConfig", "registerModel", "listSupportedModels"]],
    ["megatron-bridge", ["hfPretrained", "transformerConfig", "toMegatronProvider", "provideDistributedModel", "registerPreWrapHook", "registerPostWrapHook", "loadHfWeights", "saveHfPretrained", "saveHfWeights", "exportHfWeights", "getConversionTasks", "exportAdapterWeights", "saveHfAdapter", "peft"], ["fromHfPretrained", "fromHfConfig", "registerBridge", "supports", "canHandle"]]
  ] as const)("%s: one object has them, whatever its conventions", async (_, members, statics) => {
    const bridge = await WeightBridge.fromHfPretrained(model.hf, { bridgeType: "mbridge" })
    for (const name of members) expect(bridge[name], name).toBeDefined()
    for (const name of statics) expect(WeightBridge[name], name).toBeTypeOf("function")
  })

  it("two spellings are one implementation", async () => {
    const bridge = await WeightBridge.fromConfig(model.hf)
    expect(bridge.exportWeights).toBe(bridge.exportHfWeights)
    expect(bridge.loadWeights).toBe(bridge.loadHfWeights)
    expect(bridge.saveWeights).toBe(bridge.saveHfPretrained)
    expect(bridge.hfPretrained.config).toBe(bridge.hfConfig)
    expect(bridge.config).toBe(bridge.transformerConfig)
    expect(bridge.config["num_moe_experts"]).toBe((bridge.hfConfig as Record<string, unknown>)["n_routed_experts"])
    expect(bridge.dtype).toBe("bfloat16")
    expectTypeOf(bridge.exportWeights()).toEqualTypeOf<AsyncIterable<HfWeight>>()
    expectTypeOf(bridge.loadHfWeights(0)).toEqualTypeOf<AsyncIterable<MegatronWeight>>()
    expectTypeOf(bridge.getConversionTasks()).toEqualTypeOf<Promise<ReadonlyArray<WeightConversionTask>>>()
  })

  it("models are known by their config", async () => {
    const config = (await WeightBridge.open(model.hf)).hfConfig
    expect(WeightBridge.supports(config)).toBe(true)
    expect(WeightBridge.supports({ architectures: ["NobodyKnowsForCausalLM"] })).toBe(false)
    expect(await WeightBridge.canHandle(model.hf)).toBe(true)
    expect(await WeightBridge.canHandle(model.work)).toBe(false)
    expect(WeightBridge.listSupportedModels()).toEqual(families.architectures)
  })
})

it("formats and the bridge are validated together", async () => {
  const refused = (options: object) => expect(WeightBridge.open(model.hf, options)).rejects.toMatchObject({ _tag: "UsageError" })
  await refused({ bridgeType: "vanilla" })
  await refused({ load: { format: "pickle" } })
  await refused({ load: { format: "dist_ckpt" } })
  await refused({ load: { format: "dist_ckpt", path: model.hf } })
  await refused({ load: { format: "hf", path: model.megatron } })
  await refused({ save: { format: "hf" } })
  const bridge = await WeightBridge.open(model.hf, { bridgeType: "mbridge", load: { format: "dist_ckpt", path: model.megatron } })
  await expect(all(bridge.exportAdapterWeights())).rejects.toMatchObject({ _tag: "UsageError" })
  await expect(all((await bridge.withOverrides({ bridgeType: "megatron-bridge" })).exportWeights({ keepStackedExperts: false }))).rejects.toMatchObject({ _tag: "UsageError" })
})

it("hooks change the table of parameters, those before the wrappers first", async () => {
  const bridge = await WeightBridge.open(model.hf)
  bridge.registerPostWrapHook((table) => table.filter(({ trainable }) => trainable))
  bridge.registerPreWrapHook((table) => table.map((task) => (task.globalParamName.includes(".layers.0.") ? { ...task, trainable: false } : task)))
  const names = (await bridge.getModel()).map(({ globalParamName }) => globalParamName)
  expect(names.some((name) => name.includes(".layers.1."))).toBe(true)
  expect(names.some((name) => name.includes(".layers.0."))).toBe(false)
  expect((await (await bridge.setExtraArgs({ tp: 2 })).getModel()).length).toBe(names.length)
})

it("stacked experts come one by one, if asked for", async () => {
  const bridge = await WeightBridge.open(model.hf, { bridgeType: "mbridge", load: { format: "dist_ckpt", path: model.megatron } })
  const stacked = await all(bridge.exportWeights({ tensors: ["*.mlp.experts.gate_up_proj"] }))
  const single = new Map((await all(bridge.exportWeights({ keepStackedExperts: false }))).map((weight) => [weight.name, weight]))
  expect(stacked.length).toBeGreaterThan(0)
  for (const { bytes, name, shape } of stacked) {
    const [count, ...rest] = shape
    const size = bytes.byteLength / count!
    for (let e = 0; e < count!; e++) {
      const own = single.get(name.replace(".experts.", `.experts.${e}.`) + ".weight")!
      expect(own.shape).toEqual(rest)
      expect(Buffer.from(own.bytes).equals(Buffer.from(bytes.subarray(e * size, (e + 1) * size)))).toBe(true)
    }
    expect(single.has(name)).toBe(false)
  }
})

it("matrices of the language model become FP8 codes and scales, and come back within half a step", async () => {
  const bridge = await WeightBridge.open(model.hf, { load: { format: "dist_ckpt", path: model.megatron } })
  const plain = new Map((await all(bridge.exportWeights())).map((weight) => [weight.name, weight]))
  const plan = await bridge.weightPlan({ quantize: { blockSize: [16, 16] } })
  const found = new Map((await all(bridge.exportWeights({ quantize: { blockSize: [16, 16] } }))).map((weight) => [weight.name, weight]))
  expect([...found.values()].map(({ bytes, name }) => [name, bytes.byteLength])).toEqual(plan.outputs.map(({ bytes, name }) => [name, bytes]))
  const codes = [...found.values()].filter(({ dtype }) => dtype === "F8_E4M3")
  expect(codes.length).toBeGreaterThan(4)
  for (const { bytes, name, shape } of codes) {
    const scales = found.get(`${name}_scale_inv`)!
    const of = new Float32Array(scales.bytes.buffer, scales.bytes.byteOffset, scales.bytes.byteLength / 4)
    const halves = new Uint16Array(plain.get(name)!.bytes.slice().buffer)
    const [rows, columns] = shape.slice(-2) as [number, number]
    const [high, wide] = scales.shape.slice(-2) as [number, number]
    let beyond = 0
    bytes.forEach((code, i) => {
      const row = Math.floor(i / columns)
      const scale = of[Math.floor(row / rows) * high * wide + Math.floor((row % rows) / 16) * wide + Math.floor((i % columns) / 16)]!
      const original = f32OfBits(halves[i]! << 16)
      if (!(Math.abs(valuesOf("e4m3")[code]! * scale - original) <= Math.max(Math.abs(original) / 16, scale * 2 ** -10) * (1 + 1e-5))) beyond++
    })
    expect(beyond, name).toBe(0)
  }
  // Norms, routers, the embedding and the head stay as they are.
  expect(codes.some(({ name }) => /norm|\.gate\.weight$|embed|lm_head/.test(name))).toBe(false)
  for (const [name, { bytes }] of plain) if (found.get(name)!.dtype !== "F8_E4M3") expect(Buffer.from(found.get(name)!.bytes).equals(Buffer.from(bytes)), name).toBe(true)
  expect(plan.quantizationConfig).toMatchObject({ quant_method: "fp8", weight_block_size: [16, 16] })
  const few = await bridge.weightPlan({ quantize: { tensors: ["*.self_attn.*_proj.weight"], except: ["*.layers.0.*"] } })
  expect(few.outputs.filter(({ dtype }) => dtype === "F8_E4M3").every(({ name }) => name.includes(".self_attn.") && !name.includes(".layers.0."))).toBe(true)
  await expect(bridge.weightPlan({ quantize: { tensors: ["*.nothing"] } })).rejects.toMatchObject({ _tag: "UsageError" })
})
