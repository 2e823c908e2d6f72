import { describe, expect, it } from "vitest"
import {
  checkSizes,
  defaultSpec,
  expertDataParallelSize,
  modelParallelSize,
  parseComponent,
  rankCount,
  rankRange
} from "../../src/parallel/ModuleParallelism.ts"
import { parallelism } from "./randomParallelism.ts"
import { refusal } from "./refusal.ts"

describe("parseComponent", () => {
  it("reads every key", () => {
    expect(parseComponent("language=tp=4,pp=2,dp=1,cp=8,ep=2,etp=3,rank_offset=16")).toEqual({
      name: "language", tp: 4, pp: 2, dp: 1, cp: 8, ep: 2, etp: 3, rankOffset: 16
    })
  })

  it("takes 1 for sizes not given and leaves dp and rank_offset open", () => {
    expect(parseComponent("images=tp=2")).toEqual({ name: "images", tp: 2, pp: 1, cp: 1, ep: 1, etp: 1 })
    expect(parseComponent("images=pp=2").tp).toBe(1)
    expect(parseComponent("images=")).toEqual(defaultSpec("images"))
  })

  it("takes keys in any order, blanks around parts, a trailing comma and leading zeros, as the reference does", () => {
    expect(parseComponent(" images = rank_offset = 0 , tp=02, ")).toEqual({ ...defaultSpec("images"), tp: 2, rankOffset: 0 })
  })

  it("reads an uneven pipeline; values with commas stand between quotes", () => {
    const pipelineOf = (text: string) => parseComponent(`language=pp=4,${text}`).pipeline
    expect(pipelineOf("first_stage_layers=14, last_stage_layers=15")).toEqual({ firstStageLayers: 14, lastStageLayers: 15 })
    expect(pipelineOf("embedding_as_stage=true,loss_as_stage=0")).toEqual({ embeddingAsStage: true, lossAsStage: false })
    for (const quote of ["\"", "'"]) expect(pipelineOf(`layout=${quote}Et*3|(tt|)*29,m|L${quote},tp=2`)).toEqual({ layout: "Et*3|(tt|)*29,m|L" })
    expect(pipelineOf("layout=Et|tL")).toEqual({ layout: "Et|tL" })
    expect(pipelineOf("tp=2")).toBeUndefined()
  })

  it.each([
    ["layout=Et,m|L", "\"m|L\" is not key=value"],
    ["layout=\"Et|L", "a quoted value does not end"],
    ["layout=", "layout is empty"],
    ["loss_as_stage=yes", "loss_as_stage is true or false, not \"yes\""],
    ["first_stage_layers=0", "first_stage_layers must be a whole number from 1"],
    ["layout=L,layout=L", "\"layout\" is given twice"]
  ])("refuses %s", (text, problem) => {
    expect(refusal(() => parseComponent(`language=pp=2,${text}`))).toContain(problem)
  })

  it("quotes what it does not understand and says what it expects", () => {
    expect(refusal(() => parseComponent("language=tp=2,vp=2"))).toMatchInlineSnapshot(`
      "--component language=tp=2,vp=2: unknown key "vp"; known are tp, pp, dp, cp, ep, etp, rank_offset, first_stage_layers, last_stage_layers, embedding_as_stage, loss_as_stage, layout, vpp
        expected name=tp=N[,pp=N,dp=N,cp=N,ep=N,etp=N,rank_offset=N]; an uneven pipeline: first_stage_layers=N, last_stage_layers=N, embedding_as_stage=true, loss_as_stage=true or layout="Et|t|tL"; virtual stages: vpp=N"
    `)
    expect(refusal(() => parseComponent("language"))).toContain("--component language: has no '=' after the component name")
    expect(refusal(() => parseComponent("=tp=2"))).toContain("the component name is empty")
    expect(refusal(() => parseComponent(" =tp=2"))).toContain("the component name is empty")
    expect(refusal(() => parseComponent("language=tp=2,4"))).toContain(`"4" is not key=value`)
    expect(refusal(() => parseComponent("language=tp=2,TP=2"))).toContain(`unknown key "TP"`)
    expect(refusal(() => parseComponent("language=__proto__=2"))).toContain(`unknown key "__proto__"`)
  })

  it("refuses a key given twice, where the reference would take the last", () => {
    expect(refusal(() => parseComponent("language=tp=2,tp=4"))).toContain(`"tp" is given twice`)
  })

  it.each(["0", "-1", "+2", "1.0", "1e3", "0x2", "1_0", "two", "", "=2", "Infinity", "NaN", "٢", "1048577", "9".repeat(400)])(
    "refuses tp=%s",
    (value) => {
      expect(refusal(() => parseComponent(`language=tp=${value}`)))
        .toContain("tp must be a whole number from 1 to 1048576, not ")
    }
  )

  it("allows rank 0, but no rank past the largest world", () => {
    expect(parseComponent("a=rank_offset=0").rankOffset).toBe(0)
    expect(parseComponent("a=tp=1048576").tp).toBe(1_048_576)
    expect(refusal(() => parseComponent("a=rank_offset=1048576")))
      .toContain(`rank_offset must be a whole number from 0 to 1048575, not "1048576"`)
    expect(refusal(() => parseComponent("a=rank_offset=-1"))).toContain("from 0 to 1048575")
  })

  it("escapes control characters and cuts long names in its messages", () => {
    expect(refusal(() => parseComponent("a=\u001b[2Jx"))).toContain("\\u001b[2Jx")
    expect(refusal(() => parseComponent("a".repeat(5000))).length).toBeLessThan(500)
  })
})

describe("the algebra of ranks", () => {
  // tp=2, cp=2, pp=2, dp=4, ep=2, etp=4: 32 ranks, and 16 per stage in 8 expert shards, so 2 copies of each expert.
  const p = parallelism({ tp: 2, cp: 2, pp: 2, dp: 4, ep: 2, etp: 4 })

  it("leaves expert sizes out of the number of ranks", () => {
    expect(modelParallelSize(p)).toBe(8)
    expect(rankCount(p)).toBe(32)
    expect(expertDataParallelSize(p)).toBe(2)
  })

  it("writes ranges as people do", () => {
    expect(rankRange(4, 4)).toBe("4-7")
    expect(rankRange(4, 1)).toBe("4")
  })
})

describe("checkSizes", () => {
  it("accepts an open dp and offset, but no other open size", () => {
    expect(() => checkSizes(defaultSpec("language"))).not.toThrow()
    expect(refusal(() => checkSizes({ ...defaultSpec("language"), tp: undefined as never })))
      .toContain("tp must be a whole number from 1 to 1048576, not undefined")
  })

  it.each([0, -1, 1.5, NaN, Infinity, 2 ** 21])("refuses cp %s", (cp) => {
    expect(refusal(() => checkSizes({ ...defaultSpec("language"), cp })))
      .toBe(`component language: cp must be a whole number from 1 to 1048576, not ${cp}`)
  })

  it("refuses sizes whose product passes the largest world", () => {
    expect(refusal(() => checkSizes({ ...defaultSpec("language"), tp: 1024, pp: 1024, dp: 2 }))).toMatchInlineSnapshot(
      `"component language: tp=1024, cp=1, pp=1024, dp=2 asks for ranks past 1048576, the largest world supported"`
    )
    expect(() => checkSizes({ ...defaultSpec("language"), tp: 1024, pp: 1024 })).not.toThrow()
    expect(refusal(() => checkSizes({ ...defaultSpec("language"), tp: 1024, pp: 1024, rankOffset: 1 }))).toContain("rank_offset=1")
  })
})
