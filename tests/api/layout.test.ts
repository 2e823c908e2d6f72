/** Questions about sizes are answered from config.json alone. */
import { copyFileSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { conversionPlan, modelLayout, modelProcessGroups, parseComponent, processGroups, standardLayout } from "../../src/index.ts"
import { sampleModel, workDirectory } from "../relabel/checkpoints.ts"

const work = workDirectory("layout")
const bare = join(work, "config-only")
beforeAll(async () => {
  const hf = await sampleModel(work)
  mkdirSync(bare)
  copyFileSync(join(hf, "config.json"), join(bare, "config.json"))
})

describe("without weights on disk", () => {
  it("the layout of a model of components", async () => {
    const { components, worldSize } = await modelLayout({ hfModel: bare, components: ["language=tp=2", "images=tp=1"] })
    expect([worldSize, components.map(({ name, parallelism: { rankOffset, tp } }) => [name, tp, rankOffset])]).toEqual([3, [["language", 2, 0], ["images", 1, 2]]])
  })

  it("and of a standard checkpoint", async () => {
    expect((await modelLayout({ hfModel: bare, standard: true, tp: 2 })).worldSize).toBe(2)
  })

  it("process groups", async () => {
    const groups = await modelProcessGroups({ hfModel: bare, components: ["language=tp=2", "images=tp=1"] })
    expect([...groups].map(([name, { tp }]) => [name, tp])).toEqual([["language", [[0, 1]]], ["images", [[2]]]])
  })

  it("what the trainer would not build is refused", async () => {
    await expect(modelLayout({ hfModel: bare, standard: true, tp: 3 })).rejects.toMatchObject({ _tag: "UsageError", code: "usage/layout" })
    await expect(modelLayout({ hfModel: bare, components: ["language=tp=2", "sound=tp=1"] })).rejects.toMatchObject({ _tag: "UsageError" })
  })

  it("what needs weights says which are missing", async () => {
    await expect(conversionPlan({ hfModel: bare })).rejects.toMatchObject({ _tag: "InvalidFile", code: "safetensors/no-weights" })
  })
})

describe("without a model at all", () => {
  it("from the sizes", () => {
    const { components: [only] } = standardLayout({ tp: 2, pp: 2 })
    expect(processGroups(only!.parallelism).pp).toEqual([[0, 2], [1, 3]])
    expect(parseComponent("language=tp=4")).toMatchObject({ name: "language", tp: 4 })
  })
})

it("a Hub id that is in no cache says where it was looked for", async () => {
  await expect(modelLayout({ hfModel: "nobody/no-such-model" })).rejects.toMatchObject({ _tag: "InvalidFile", code: "hub/not-found" })
})
