import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { parsePipelineLayout } from "../../src/parallel/PipelineLayout.ts"
import { pipelineStages } from "../../src/parallel/PipelineSplit.ts"
import type { PipelineSplit } from "../../src/parallel/ModuleParallelism.ts"
import { cpuMs } from "../measure/cpu.ts"
import { refusal } from "./refusal.ts"

const perStage = (numLayers: number, pp: number, split: PipelineSplit = {}, mtp = 0) => {
  const { layers } = pipelineStages(numLayers, pp, split, mtp)
  return Array.from({ length: pp }, (_, stage) => layers.filter((own) => own === stage).length)
}

describe("pipelineStages", () => {
  it("splits evenly", () => {
    expect(pipelineStages(8, 1)).toEqual({ layers: [0, 0, 0, 0, 0, 0, 0, 0], embedding: 0, output: 0, norm: 0, mtp: 0 })
    expect(pipelineStages(3, 3)).toEqual({ layers: [0, 1, 2], embedding: 0, output: 2, norm: 2, mtp: 2 })
  })

  it("gives the outer stages their own numbers", () => {
    expect(perStage(10, 3, { firstStageLayers: 2 })).toEqual([2, 4, 4])
    expect(perStage(10, 3, { lastStageLayers: 4 })).toEqual([3, 3, 4])
    expect(perStage(61, 4, { firstStageLayers: 14, lastStageLayers: 15 })).toEqual([14, 16, 16, 15])
  })

  it("counts the embedding and the loss as layers", () => {
    expect(perStage(78, 8, { embeddingAsStage: true, lossAsStage: true })).toEqual([9, 10, 10, 10, 10, 10, 10, 9])
    expect(perStage(43, 4, { lossAsStage: true })).toEqual([11, 11, 11, 10])
    expect(perStage(2, 2, { embeddingAsStage: false, lossAsStage: false })).toEqual([1, 1])
  })

  it("deals chunks of layers out in turn to virtual stages", () => {
    expect(pipelineStages(8, 2, { virtualStages: 2 })).toMatchObject({ layers: [0, 0, 1, 1, 0, 0, 1, 1], embedding: 0, output: 1, norm: 1 })
    expect(pipelineStages(4, 2, { virtualStages: 1 }).layers).toEqual([0, 0, 1, 1])
    expect(refusal(() => pipelineStages(8, 2, { virtualStages: 3 }))).toContain("8 layers cannot be dealt out evenly to pp=2 times vpp=3 chunks")
    expect(refusal(() => pipelineStages(8, 1, { virtualStages: 2 }))).toContain("virtual stages need pp > 1")
    expect(refusal(() => pipelineStages(8, 2, { virtualStages: 2, firstStageLayers: 1 }))).toContain("a layout spells uneven ones out")
    expect(pipelineStages(4, 2, { virtualStages: 2, layout: "Et|t|t|tL" }).layers).toEqual([0, 1, 0, 1])
    expect(refusal(() => pipelineStages(4, 2, { virtualStages: 4, layout: "Et|t|t|tL" }))).toContain("not pp=2 times vpp=4")
  })

  it("reads a layout; more stages than ranks are virtual ones, dealt out in turn", () => {
    expect(perStage(61, 16, { layout: "Et*3|(tt|)*29,m|L" }, 1)).toEqual([5, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 2, 2])
    expect(pipelineStages(4, 2, { layout: "Et|t|t|tL" }).layers).toEqual([0, 1, 0, 1])
  })

  it("keeps the final norm with the last layer where there is multi-token prediction, which a layout may put before the last stage", () => {
    expect(pipelineStages(3, 4, { layout: "Et|tt|m|L" }, 1)).toEqual({ layers: [0, 1, 1], embedding: 0, output: 3, norm: 1, mtp: 2 })
    expect(pipelineStages(1, 2, { lossAsStage: true })).toMatchObject({ norm: 1 })
    expect(pipelineStages(1, 2, { lossAsStage: true }, 1)).toMatchObject({ layers: [0], norm: 0, mtp: 1 })
  })

  it("refuses what does not divide, and says what would", () => {
    expect(refusal(() => pipelineStages(40, 3))).toMatchInlineSnapshot(`
      "40 layers cannot be split evenly into pp=3 stages
        pp can be 1, 2, 4, 5, 8, 10, 20, 40; first_stage_layers, last_stage_layers, embedding_as_stage, loss_as_stage or layout make an uneven pipeline"
    `)
    expect(refusal(() => pipelineStages(10, 4, { firstStageLayers: 2 }))).toMatchInlineSnapshot(`
      "10 layers cannot be split into pp=4 stages with 2 layers in the first: 8 layers are left for 3 stages
        every other stage needs equally many, and at least one"
    `)
    expect(refusal(() => pipelineStages(61, 4, { embeddingAsStage: true }))).toMatchInlineSnapshot(`
      "61 layers, the embedding count as 62 layers, which cannot be split evenly into pp=4 stages
        pp can be 1, 2, 31, 62"
    `)
  })

  it("refuses stages without layers, and layers without a stage", () => {
    expect(refusal(() => pipelineStages(8, 3, { firstStageLayers: 4, lastStageLayers: 4 }))).toContain("0 layers are left for 1 stages")
    expect(refusal(() => pipelineStages(8, 2, { firstStageLayers: 3, lastStageLayers: 4 }))).toContain("1 layers are left for 0 stages")
    expect(refusal(() => pipelineStages(8, 3, { firstStageLayers: 9 }))).toContain("-1 layers are left for 2 stages")
    expect(refusal(() => pipelineStages(8, 2, { firstStageLayers: 0 }))).toBe("layers of the first stage must be a whole number from 1, not 0")
  })

  it.each<readonly [string, string, number]>([
    ["tEtt|tL", "begins with its only E", 0],
    ["Ett|tt", "ends with its only L", 0],
    ["Ett|tL", "has 3 decoder layers (t), the model 4", 0],
    ["Ett|ttmL", "has 1 layers of multi-token prediction (m), the trainer's model 0", 0],
    ["Ett|tmtL", "must stand before multi-token prediction", 1],
    ["Ett|tt|m|L", "", 1],
    ["Ett|ttm|mL", "3 stages, which are not divisible by pp=2", 2],
    ["Ett|tt|m|mL", "must be in one stage", 2],
    ["Ett|ttm||L", "must be in the last virtual stage of its rank", 1],
    ["Et|tx|ttL", "\"x\" is no layer", 0],
    ["(t*99999)*99999", "stands for more than 100000 letters", 0],
    ["t*99999999999", "stands for more than 100000 letters", 0],
    ["t".repeat(10_001), "has 10001 characters, at most 10000 are read", 0]
  ])("reads %s as the trainer does: %s", (layout, problem, mtp) => {
    const stages = () => pipelineStages(4, 2, { layout }, mtp)
    if (problem === "") expect(stages).not.toThrow()
    else expect(refusal(stages)).toContain(problem)
  })

  it("excludes what the trainer excludes", () => {
    expect(refusal(() => pipelineStages(4, 2, { layout: "Ett|ttL", lastStageLayers: 2 }))).toContain("excludes the other numbers")
    expect(refusal(() => pipelineStages(4, 2, { embeddingAsStage: true, lastStageLayers: 2 }))).toContain("exclude embedding_as_stage")
    expect(refusal(() => pipelineStages(4, 1, { layout: "Ett|ttL" }))).toContain("virtual stages need pp > 1")
  })

  it.each([0, -1, 1.5, NaN, 2 ** 60])("refuses %s layers or stages", (count) => {
    expect(refusal(() => pipelineStages(count, 1))).toContain("the number of layers must be a whole number from 1")
    expect(refusal(() => pipelineStages(4, count))).toContain("pp must be a whole number from 1")
  })

  it("allocates nothing for absurd numbers", () => {
    expect(refusal(() => pipelineStages(2 ** 40, 2 ** 40))).toContain("more than the 1048576 ranks supported")
    expect(refusal(() => pipelineStages(2 ** 40, 1024))).toContain("more than the 1000000 supported")
  })

  it("unrolls in linear time", () => {
    const texts = ["(".repeat(9000), "(t)*".repeat(2000), "t*1".repeat(3000), "*".repeat(9000)]
    expect(cpuMs(() => texts.forEach((text) => refusal(() => pipelineStages(4, 2, { layout: text }))))).toBeLessThan(5000)
  })
})

describe("layout letters", () => {
  it("repeat, and commas mean nothing", () => {
    expect(parsePipelineLayout("Et*2,|(t|)*2,m|L").map((stage) => stage.join(""))).toEqual(["Ett", "t", "t", "m", "L"])
  })
})

/**
 * Written by Megatron-Core's own functions (`get_num_layers_to_build`, `get_transformer_layer_offset`, PipelineParallelLayerLayout
 * and the pipeline checks of `TransformerConfig.__post_init__`), run alone: `[rank, layers]` in the order of the layers, or refused.
 */
interface Vector {
  readonly layers: number
  readonly pp: number
  readonly split: PipelineSplit
  readonly mtp: number
  readonly runs?: ReadonlyArray<readonly [rank: number, layers: number]>
  readonly mtpRank?: number
  readonly refused?: true
}

describe("the trainer's own functions", () => {
  const vectors = JSON.parse(readFileSync(new URL("pipelineVectors.json", import.meta.url), "utf8")) as ReadonlyArray<Vector>

  it.each(vectors)("$layers layers, pp=$pp, $split, $mtp", ({ layers, mtp, mtpRank, pp, refused, runs, split }) => {
    const stages = () => pipelineStages(layers, pp, split, mtp)
    if (refused) refusal(stages)
    else expect(stages().layers).toEqual(runs!.flatMap(([rank, count]) => new Array<number>(count).fill(rank)))
    if (mtpRank !== undefined) expect(stages().mtp).toBe(mtpRank)
  })
})
