import { describe, expect, it } from "vitest"
import { groupOf, groupsOf, type ProcessGroupKind, processGroupKinds, processGroups } from "../../src/parallel/ProcessGroups.ts"
import { parallelism, randomParallelisms, ranksOf } from "./randomParallelism.ts"

// Lists derived by hand from Megatron's RankGenerator: rank = offset + Σ coordinate·stride along tp-cp-dp-pp (dense) and
// etp-ep-edp-pp (experts); a group fixes the axes it does not name.

describe("worked examples", () => {
  it("tp=2, pp=2, dp=2 on ranks 4-11", () => {
    const singles = [[4], [5], [6], [7], [8], [9], [10], [11]]
    expect(processGroups(parallelism({ tp: 2, pp: 2, dp: 2, rankOffset: 4 }))).toEqual({
      tp: [[4, 5], [6, 7], [8, 9], [10, 11]],
      pp: [[4, 8], [5, 9], [6, 10], [7, 11]],
      mp: [[4, 5, 8, 9], [6, 7, 10, 11]],
      embd: [[4, 8], [5, 9], [6, 10], [7, 11]],
      pos_embd: [[4], [5], [6], [7]],
      cp: singles,
      tp_cp: [[4, 5], [6, 7], [8, 9], [10, 11]],
      ep: singles,
      expt_tp: singles,
      tp_ep: singles,
      tp_ep_pp: [[4, 8], [5, 9], [6, 10], [7, 11]],
      tp_dp_cp: [[4, 5, 6, 7], [8, 9, 10, 11]],
      dp: [[4, 6], [5, 7], [8, 10], [9, 11]],
      dp_cp: [[4, 6], [5, 7], [8, 10], [9, 11]],
      expt_dp: [[4, 5, 6, 7], [8, 9, 10, 11]]
    })
  })

  it("tp=2, dp=2, ep=2, etp=1: experts are spread over the tp ranks", () => {
    expect(processGroups(parallelism({ tp: 2, dp: 2, ep: 2 }))).toMatchObject({
      tp: [[0, 1], [2, 3]],
      dp: [[0, 2], [1, 3]],
      ep: [[0, 1], [2, 3]],
      expt_tp: [[0], [1], [2], [3]],
      tp_ep: [[0, 1], [2, 3]],
      tp_ep_pp: [[0, 1], [2, 3]],
      expt_dp: [[0, 2], [1, 3]],
      embd: [[0], [1], [2], [3]]
    })
  })

  it("tp=2, cp=2, dp=2: context-parallel ranks lie between tp and dp", () => {
    expect(processGroups(parallelism({ tp: 2, cp: 2, dp: 2 }))).toMatchObject({
      cp: [[0, 2], [1, 3], [4, 6], [5, 7]],
      tp_cp: [[0, 1, 2, 3], [4, 5, 6, 7]],
      dp: [[0, 4], [1, 5], [2, 6], [3, 7]],
      dp_cp: [[0, 2, 4, 6], [1, 3, 5, 7]],
      tp_dp_cp: [[0, 1, 2, 3, 4, 5, 6, 7]]
    })
  })

  it("tp=2, pp=4, dp=2, the 16-rank example of Megatron's own documentation, in tp-cp-ep-dp-pp order", () => {
    const groups = processGroups(parallelism({ tp: 2, pp: 4, dp: 2 }))
    expect(groups.pp).toEqual([[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]])
    expect(groups.dp).toEqual([[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9, 11], [12, 14], [13, 15]])
    expect(groups.embd).toEqual([[0, 12], [1, 13], [2, 14], [3, 15]])
    expect(groups.pos_embd).toEqual([[0], [1], [2], [3]])
    expect(groups.mp).toEqual([[0, 1, 4, 5, 8, 9, 12, 13], [2, 3, 6, 7, 10, 11, 14, 15]])
  })

  it("64 ranks, tp=etp=4, pp=2, ep=8: the ep groups are the dp groups", () => {
    const groups = processGroups(parallelism({ tp: 4, pp: 2, dp: 8, ep: 8, etp: 4 }))
    expect(groups.ep[0]).toEqual([0, 4, 8, 12, 16, 20, 24, 28])
    expect(groups.ep).toEqual(groups.dp)
    expect(groups.expt_dp.every((ranks) => ranks.length === 1)).toBe(true)
    expect(groups.tp_ep[1]).toEqual(Array.from({ length: 32 }, (_, index) => 32 + index))
  })

  it("etp=2, ep=2 on tp=1, dp=8: etp before ep before the copies", () => {
    expect(processGroups(parallelism({ dp: 8, ep: 2, etp: 2 }))).toMatchObject({
      expt_tp: [[0, 1], [2, 3], [4, 5], [6, 7]],
      ep: [[0, 2], [1, 3], [4, 6], [5, 7]],
      tp_ep: [[0, 1, 2, 3], [4, 5, 6, 7]],
      expt_dp: [[0, 4], [1, 5], [2, 6], [3, 7]]
    })
  })
})

describe("for any parallelism", () => {
  const samples = randomParallelisms(150, 3)

  it("every kind but embd and pos_embd divides the ranks into ascending groups of equal size", () => {
    for (const p of samples) {
      for (const [kind, groups] of Object.entries(processGroups(p))) {
        if (kind === "embd" || kind === "pos_embd") continue
        expect(groups.flat().toSorted((a, b) => a - b), kind).toEqual(ranksOf(p))
        expect(new Set(groups.map((ranks) => ranks.length)).size, kind).toBe(1)
        for (const ranks of groups) expect(ranks).toEqual(ranks.toSorted((a, b) => a - b))
      }
    }
  })

  it("groups have the size of their axes", () => {
    for (const p of samples) {
      const edp = (p.tp * p.cp * p.dp) / (p.ep * p.etp)
      const size: Record<Exclude<ProcessGroupKind, "embd" | "pos_embd">, number> = {
        tp: p.tp, pp: p.pp, mp: p.tp * p.pp, cp: p.cp, tp_cp: p.tp * p.cp, dp: p.dp, dp_cp: p.dp * p.cp,
        tp_dp_cp: p.tp * p.dp * p.cp, ep: p.ep, expt_tp: p.etp, expt_dp: edp, tp_ep: p.etp * p.ep, tp_ep_pp: p.etp * p.ep * p.pp
      }
      const groups = processGroups(p)
      for (const [kind, expected] of Object.entries(size)) expect(groups[kind as ProcessGroupKind][0], kind).toHaveLength(expected)
    }
  })

  it("embd and pos_embd are disjoint, with one group for each pipeline", () => {
    for (const p of samples) {
      const { embd, pos_embd, pp } = processGroups(p)
      expect(embd).toHaveLength(pp.length)
      expect(new Set(embd.flat()).size).toBe(embd.flat().length)
      expect(pos_embd.flat()).toEqual(pp.map((stages) => stages[0]))
    }
  })
})

describe("groupsOf", () => {
  const collection = processGroups(parallelism({ tp: 2, pp: 3, rankOffset: 4 }))

  it("finds the groups of a rank", () => {
    expect(groupsOf(collection, 5)).toEqual({
      tp: [4, 5], pp: [5, 7, 9], mp: [4, 5, 6, 7, 8, 9], embd: [5, 9], pos_embd: [5], cp: [5], tp_cp: [4, 5], ep: [5], expt_tp: [5],
      tp_ep: [5], tp_ep_pp: [5, 7, 9], tp_dp_cp: [4, 5], dp: [5], dp_cp: [5], expt_dp: [4, 5]
    })
  })

  it("leaves embd to the first and last stage and pos_embd to the first", () => {
    expect(Object.keys(groupsOf(collection, 7))).not.toContain("embd")
    expect(groupsOf(collection, 9)).toMatchObject({ embd: [5, 9] })
    expect(Object.keys(groupsOf(collection, 9))).not.toContain("pos_embd")
  })

  it("is empty for ranks of other components", () => {
    expect(groupsOf(collection, 3)).toEqual({})
    expect(groupsOf(collection, 10)).toEqual({})
  })
})

it("the group of one rank is found without the others", () => {
  for (const p of randomParallelisms(40, 7)) {
    const all = processGroups(p)
    for (const rank of ranksOf(p)) {
      const found = Object.fromEntries(processGroupKinds.flatMap((kind) => {
        const group = groupOf(p, kind, rank)
        return group === undefined ? [] : [[kind, group]]
      }))
      expect(found).toEqual(groupsOf(all, rank))
    }
  }
})
