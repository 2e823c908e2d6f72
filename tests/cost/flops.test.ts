/** FLOPs: the trainer's own count by its vectors, ours by published models, and why the two differ. */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { compareFlops } from "../../src/cost/compareFlops.ts"
import { modelFlops, modelWork } from "../../src/cost/flops.ts"
import { frozenParts } from "../../src/cost/freezing.ts"
import { loggedTextFlops, loggedVisionFlops, type LoggedVision, sumOf } from "../../src/cost/loggedFlops.ts"
import { modelWeights, parameterCount } from "../../src/cost/weights.ts"
import { EMPTY, images, sequences, times, together } from "../../src/cost/Workload.ts"
import { published, type PUBLISHED } from "./published.ts"

interface TextVector extends Readonly<Record<string, unknown>> {
  readonly id: string
  readonly model: Readonly<Record<string, unknown>> | string
  readonly flops: number
}

interface VisionVector {
  readonly id: string
  readonly patch_sum: number
  readonly patch_squared_sum: number
  readonly merged: number
  readonly flops: number
}

const vectors = JSON.parse(readFileSync(new URL("vectors.json", import.meta.url), "utf8")) as {
  readonly common: Readonly<Record<string, unknown>>
  readonly flops: ReadonlyArray<TextVector>
  readonly vit: ReadonlyArray<VisionVector & { readonly model: LoggedVision | string }>
}
const DENSE_FIRST = [0, 0, 0, ...new Array<number>(58).fill(1)]

/** A vector's model: its own fields, or another's with the keys beside it. */
const fieldsOf = (v: TextVector): Readonly<Record<string, unknown>> => {
  const base = typeof v.model === "string" ? fieldsOf(vectors.flops.find(({ id }) => id === v.model)!) : v.model
  const { flops: _, id: __, model: ___, ...beside } = v
  const c = { ...vectors.common, ...base, ...beside }
  return typeof c["moe_layer_freq"] === "string" ? { ...c, moe_layer_freq: DENSE_FIRST } : c
}

const workOf = (c: Readonly<Record<string, unknown>>) =>
  typeof c["seqlen_sum"] === "number" ? { ...EMPTY, tokens: c["seqlen_sum"], squares: c["seqlen_squared_sum"] as number } : sequences([c["seq_length"] as number])

describe("what the trainer logs", () => {
  it.each(vectors.flops)("$id", (vector) => {
    const c = fieldsOf(vector)
    expect(sumOf(loggedTextFlops(c, workOf(c), { tp: c["tensor_model_parallel_size"] as number }))).toBe(vector.flops)
  })

  it.each(vectors.vit)("$id: images", ({ flops, merged, patch_squared_sum, patch_sum }) => {
    expect(loggedVisionFlops(vectors.vit[0]!.model as LoggedVision, { ...EMPTY, patches: patch_sum, patchSquares: patch_squared_sum, merged })).toBe(flops)
  })

  it("a list of layers means what a frequency means", () => {
    const c = fieldsOf(vectors.flops.find(({ id }) => id === "F5")!)
    const list = Array.from({ length: 16 }, () => [1, 1, 1, 0]).flat()
    expect(sumOf(loggedTextFlops({ ...c, linear_attention_freq: list }, workOf(c)))).toBe(643339930042368)
  })

  it("an image and a video: every frame attends to itself", () => {
    expect(images([{ frames: 1, height: 32, width: 32 }, { frames: 4, height: 24, width: 24 }], 2)).toMatchObject({ patches: 3328, patchSquares: 2375680, merged: 832 })
  })
})

const PICTURE = images([{ frames: 1, height: 48, width: 48 }], 2)
const of = (name: keyof typeof PUBLISHED, form: "mimo" | "standard", length: number, frozen: ReadonlyArray<string> = []) => {
  const description = published(name)
  const w = together(sequences([length]), form === "mimo" ? PICTURE : EMPTY)
  const options = { form, frozen: frozenParts(description, frozen) }
  const work = modelWork(description, w, options)
  return { work, flops: modelFlops(description, w, options), compared: compareFlops(description, work, w, { form }) }
}

describe("parameters, exactly", () => {
  it.each([
    ["Llama-3-8B", 8030261248], ["Qwen3-30B-A3B", 30532122624], ["DeepSeek-V3", 671026419200], ["Qwen3.5-27B", 26895998464], ["Qwen3.5-35B-A3B", 34660610688], ["Qwen3.5-397B-A17B", 396346350336]
  ] as const)("%s", (name, language) => {
    const weights = modelWeights(published(name), "mimo")
    expect(parameterCount(weights, (g) => g.module === "language")).toBe(language)
  })

  it("a tower, its merger included", () => {
    expect(parameterCount(modelWeights(published("Qwen3.5-27B"), "mimo"), (g) => g.module === "vision")).toBe(460730096)
  })
})

describe("our count", () => {
  it("is the trainer's where it counts everything", () => {
    const { compared } = of("Llama-3-8B", "standard", 8192)
    expect(compared).toMatchObject({ counted: 421645529382912, logged: 421645529382912, frozen: 0 })
    expect(compared.rows.every((row) => row.reason === undefined)).toBe(true)
  })

  it("of a VLM: the text of F5, the tower of V1 and its patch embedding", () => {
    const { compared, flops } = of("Qwen3.5-27B", "mimo", 4096)
    expect(flops.components).toEqual([
      { component: "images", forward: 7843375742976 / 3, backward: (7843375742976 * 2) / 3 },
      { component: "language", forward: 643339930042368 / 3, backward: (643339930042368 * 2) / 3 }
    ])
    expect(compared.logged).toBe(643339930042368 + 7818914562048)
    expect(compared.rows.filter((row) => row.reason !== undefined).map((row) => [row.part, row.counted - row.logged])).toEqual([["vision tower", 2 * 3 * 2304 * 1536 * 1152]])
  })

  it("adds routers: 6·48·2048·128 per token", () => {
    const { compared } = of("Qwen3-30B-A3B", "standard", 4096)
    expect((compared.counted - compared.logged) / 4096).toBe(6 * 48 * 2048 * 128)
  })

  it("names the norms that the trainer counts in latent attention and multi-token prediction", () => {
    const rows = new Map(of("DeepSeek-V3", "standard", 4096).compared.rows.map((row) => [row.part, row.counted - row.logged]))
    expect(rows.get("attention")).toBe(-6 * 4096 * 61 * (1536 + 512))
    expect(rows.get("multi-token prediction")).toBe(6 * 4096 * (7168 * 256 - 3 * 7168 - 1536 - 512))
    expect(rows.get("experts")).toBe(6 * 4096 * 58 * 7168 * 256)
    expect(rows.get("vocabulary")).toBe(0)
  })

  it("counts multi-token prediction only where it is built", () => {
    const both = (["standard", "mimo"] as const).map((form) => of("Qwen3.5-35B-A3B", form, 4096).flops.rows.some((row) => row.part === "multi-token prediction"))
    expect(both).toEqual([true, false])
  })

  it("grows with the number of sequences", () => {
    const description = published("Llama-3-8B")
    const [one, three] = [1, 3].map((n) => modelFlops(description, times(sequences([512]), n), { form: "standard" }).forward)
    expect(three).toBe(3 * one!)
  })
})

describe("frozen parts", () => {
  const passes = (frozen: ReadonlyArray<string>) =>
    Object.fromEntries(of("Qwen3.5-27B", "mimo", 1024, frozen).flops.components.map(({ backward, component, forward }) => [component, 1 + backward / forward]))

  it("a tower in front of everything costs its forward pass", () => expect(passes(["images"])).toEqual({ images: 1, language: 3 }))
  it("a language model behind a tower that trains hands gradients on", () => expect(passes(["language"])).toEqual({ images: 3, language: 2 }))

  it("a projector flag of a model whose merger is in the tower is refused", () => {
    expect(() => frozenParts(published("Qwen3.5-27B"), ["images.projector"])).toThrow("freezing images freezes both")
  })

  it("the trainer counts them all the same", () => {
    const { compared, flops } = of("Qwen3.5-27B", "mimo", 1024, ["images"])
    expect(flops.forward + flops.backward).toBe(compared.counted - compared.frozen)
  })
})
