/** Integers are no weights: codes whose scales are missing, or another model's. Tables and counters hold them. */
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { planExport } from "../../src/plan/planExport.ts"
import type { ImportPlan } from "../../src/plan/ImportPlan.ts"
import type { DType } from "../../src/tensor/DType.ts"
import { importOf, opened } from "./inMemory.ts"
import { sourceOf, type Toy, toys } from "./toys.ts"

const toyOf = (name: string): Toy => toys.find((t) => t.name === name)!

/** The toy with the tensors that match stored in another dtype. */
const stored = (toy: Toy, names: RegExp, dtype: DType) => toy.tensors.map((t) => (names.test(t.name) ? { ...t, dtype } : t))

describe("on import", () => {
  it.each(["I8", "U8", "I32", "I64", "BOOL"] as const)("%s weights are refused by name and dtype", (dtype) => {
    const toy = toyOf("qwen3-untied-a")
    expect(() => importOf(toy, "standard", stored(toy, /layers\.0\.(input_layernorm|mlp\.up_proj)\.weight$/, dtype)))
      .toThrow(`2 tensors of /toy/model-00002-of-00003.safetensors (byte 9) would have to be floating-point values: model.layers.0.input_layernorm.weight (${dtype}), model.layers.0.mlp.up_proj.weight (${dtype})`)
  })

  it("also where all that are stored as one are integers", () => {
    const toy = toyOf("qwen3-untied-a")
    expect(() => importOf(toy, "standard", stored(toy, /./, "I32"))).toThrow("model.embed_tokens.weight (I32)")
  })

  it.each([
    ["deepseek-v4", /\.tid2eid$/],
    ["nemotron-nano-omni", /\.num_batches_tracked$/]
  ])("tables and counters of %s may be integers", (name, counters) => {
    const toy = toyOf(name)
    const { checkpoint } = importOf(toy, "standard", stored(toy, counters, "I64"))
    const kept = [...checkpoint.metadata.tensors].filter(([key]) => counters.test(key))
    expect(kept.length).toBeGreaterThan(0)
    expect(kept.every(([, t]) => t.dtype === "I64")).toBe(true)
  })
})

describe("on export by a config alone", () => {
  const exportAlone = (toy: Toy, plan: ImportPlan, names: RegExp) => {
    const { metadata } = plan.checkpoint
    const tensors = new Map([...metadata.tensors].map(([key, t]) => [key, names.test(key) ? { ...t, dtype: "I64" as const } : t]))
    return planExport({ family: families.find(toy.config), config: sourceOf(toy, []), weights: undefined, checkpoint: opened(plan, { ...metadata, tensors }) }, { torchDtype: "source", mtp: "keep", allowUnmapped: [] })
  }

  it("stored integers are refused by key and dtype", () => {
    const toy = toyOf("qwen3-untied-a")
    expect(() => exportAlone(toy, importOf(toy), /final_layernorm/))
      .toThrow("a tensor of /toy/iter_0000000 would have to be floating-point values: decoder.final_layernorm.weight (I64)")
  })

  it("but for tables and counters", () => {
    const toy = toyOf("deepseek-v4")
    const { tensors } = exportAlone(toy, importOf(toy), /tid2eid/)
    expect([...tensors.values()].filter((t) => t.dtype === "I64").every((t) => t.name.endsWith(".tid2eid"))).toBe(true)
  })
})
