import { describe, expect, it } from "vitest"
import { FIRST_STAGE, lastStageOf, layersOfStage, stageOfLayer } from "../../src/parallel/PipelineSplit.ts"
import { refusal } from "./refusal.ts"

describe("layersOfStage", () => {
  it("splits evenly", () => {
    expect(layersOfStage(8, 1)).toEqual([[0, 8]])
    expect(layersOfStage(8, 2)).toEqual([[0, 4], [4, 8]])
    expect(layersOfStage(3, 3)).toEqual([[0, 1], [1, 2], [2, 3]])
  })

  it("gives the outer stages their own numbers", () => {
    expect(layersOfStage(10, 3, { firstStage: 2 })).toEqual([[0, 2], [2, 6], [6, 10]])
    expect(layersOfStage(10, 3, { lastStage: 4 })).toEqual([[0, 3], [3, 6], [6, 10]])
    expect(layersOfStage(61, 4, { firstStage: 14, lastStage: 15 })).toEqual([[0, 14], [14, 30], [30, 46], [46, 61]])
    expect(layersOfStage(7, 2, { firstStage: 3, lastStage: 4 })).toEqual([[0, 3], [3, 7]])
    expect(layersOfStage(7, 1, { firstStage: 7 })).toEqual([[0, 7]])
    expect(layersOfStage(7, 1, { lastStage: 7 })).toEqual([[0, 7]])
  })

  it("refuses what does not divide, and says what would", () => {
    expect(refusal(() => layersOfStage(40, 3))).toMatchInlineSnapshot(`
      "40 layers cannot be split evenly into pp=3 stages
        pp can be 1, 2, 4, 5, 8, 10, 20, 40"
    `)
    expect(refusal(() => layersOfStage(2, 4))).toContain("pp can be 1, 2")
    expect(refusal(() => layersOfStage(10, 4, { firstStage: 2 }))).toMatchInlineSnapshot(`
      "10 layers cannot be split into pp=4 stages with 2 layers in the first: 8 layers are left for 3 stages
        every other stage needs equally many, and at least one"
    `)
  })

  it("refuses stages without layers, and layers without a stage", () => {
    expect(refusal(() => layersOfStage(8, 3, { firstStage: 4, lastStage: 4 }))).toContain("0 layers are left for 1 stages")
    expect(refusal(() => layersOfStage(8, 2, { firstStage: 3, lastStage: 4 }))).toContain("1 layers are left for 0 stages")
    expect(refusal(() => layersOfStage(8, 3, { firstStage: 9 }))).toContain("-1 layers are left for 2 stages")
    expect(refusal(() => layersOfStage(8, 1, { firstStage: 4, lastStage: 4 }))).toContain("0 layers are left for -1 stages")
    expect(refusal(() => layersOfStage(8, 2, { firstStage: 0 }))).toBe("layers of the first stage must be a whole number from 1, not 0")
  })

  it.each([0, -1, 1.5, NaN, 2 ** 60])("refuses %s layers or stages", (count) => {
    expect(refusal(() => layersOfStage(count, 1))).toContain("the number of layers must be a whole number from 1")
    expect(refusal(() => layersOfStage(4, count))).toContain("pp must be a whole number from 1")
  })

  it("allocates nothing for absurd numbers of stages", () => {
    expect(refusal(() => layersOfStage(2 ** 40, 2 ** 40))).toContain("more than the 1048576 ranks supported")
    expect(refusal(() => layersOfStage(2 ** 40 + 1, 1024))).toContain("pp can be 1")
  })

  it("tiles the layers, with as many in every stage", () => {
    for (let pp = 1; pp <= 12; pp++) {
      for (let each = 1; each <= 6; each++) {
        const stages = layersOfStage(pp * each, pp)
        expect(stages).toHaveLength(pp)
        expect(stages.flatMap(([start, end]) => Array.from({ length: end - start }, (_, index) => start + index)))
          .toEqual(Array.from({ length: pp * each }, (_, index) => index))
      }
    }
  })
})

describe("stages", () => {
  it("know their layers", () => {
    const stages = layersOfStage(10, 3, { firstStage: 2 })
    expect([0, 1, 2, 5, 6, 9].map((layer) => stageOfLayer(stages, layer))).toEqual([0, 0, 1, 1, 2, 2])
    expect(() => stageOfLayer(stages, 10)).toThrow(new RangeError("layer 10 is in no stage"))
    expect(() => stageOfLayer(stages, -1)).toThrow(RangeError)
  })

  it("are numbered from the embeddings to the output layer", () => {
    expect([FIRST_STAGE, lastStageOf(1), lastStageOf(4)]).toEqual([0, 0, 3])
  })
})
