import { describe, expect, it } from "vitest"
import {
  coordinatesOf,
  denseAxes,
  expertAxes,
  expertRankAt,
  ownsRank,
  rankAt,
  writerRank
} from "../../src/parallel/RankGrid.ts"
import type { ModuleParallelism } from "../../src/parallel/ModuleParallelism.ts"
import { parallelism, randomParallelisms, ranksOf } from "./randomParallelism.ts"

/** Whether the rank holds the copy of the dense weights that is written. */
const isDenseMainReplica = (p: ModuleParallelism, rank: number): boolean => coordinatesOf(p, rank).dp === 0 && coordinatesOf(p, rank).cp === 0

const isExpertMainReplica = (p: ModuleParallelism, rank: number): boolean => coordinatesOf(p, rank).edp === 0

describe("coordinates", () => {
  it("count tp fastest, then cp, then dp, and pp slowest", () => {
    // tp=2, cp=2, dp=2, pp=2 from rank 4: rank 4 + tp + 2·cp + 4·dp + 8·pp
    const p = parallelism({ tp: 2, cp: 2, dp: 2, pp: 2, rankOffset: 4 })
    expect(ranksOf(p).map((rank) => {
      const { cp, dp, pp, tp } = coordinatesOf(p, rank)
      return `${tp}${cp}${dp}${pp}`
    })).toEqual([
      "0000", "1000", "0100", "1100", "0010", "1010", "0110", "1110",
      "0001", "1001", "0101", "1101", "0011", "1011", "0111", "1111"
    ])
  })

  it("count etp fastest, then ep, then edp, on the same ranks", () => {
    // tp=2, cp=2, dp=2: eight ranks a stage, etp=1 and ep=4 leave two copies of each expert
    const p = parallelism({ tp: 2, cp: 2, dp: 2, ep: 4 })
    expect(ranksOf(p).map((rank) => {
      const { edp, ep, etp } = coordinatesOf(p, rank)
      return [etp, ep, edp]
    })).toEqual([[0, 0, 0], [0, 1, 0], [0, 2, 0], [0, 3, 0], [0, 0, 1], [0, 1, 1], [0, 2, 1], [0, 3, 1]])
  })

  const parallelisms = randomParallelisms(200)

  it("are a bijection, on both grids", () => {
    for (const p of parallelisms) {
      for (const rank of ranksOf(p)) {
        const at = coordinatesOf(p, rank)
        expect(rankAt(p, at)).toBe(rank)
        expect(expertRankAt(p, at)).toBe(rank)
      }
      for (const axes of [denseAxes(p), expertAxes(p)]) {
        const seen = new Set(ranksOf(p).map((rank) => axes.map(({ name }) => coordinatesOf(p, rank)[name]).join()))
        expect(seen.size).toBe(ranksOf(p).length)
      }
    }
  })

  it("agree on pp", () => {
    for (const p of parallelisms) {
      expect(denseAxes(p).at(-1)).toEqual(expertAxes(p).at(-1))
      for (const rank of ranksOf(p)) {
        const { edp, ep, etp } = coordinatesOf(p, rank)
        expect(expertRankAt(p, { etp, ep, edp, pp: coordinatesOf(p, rank).pp })).toBe(rank)
      }
    }
  })

  it("do not exist outside the component", () => {
    const p = parallelism({ tp: 2, rankOffset: 4 })
    expect([3, 4, 5, 6, 4.5].map((rank) => ownsRank(p, rank))).toEqual([false, true, true, false, false])
    expect(() => coordinatesOf(p, 3)).toThrow(new RangeError("rank 3 is outside the component"))
    expect(() => coordinatesOf(p, 6)).toThrow(RangeError)
    expect(() => rankAt(p, { tp: 2, cp: 0, dp: 0, pp: 0 })).toThrow(new RangeError("tp 2 is outside 0..1"))
    expect(() => expertRankAt(p, { etp: 0, ep: -1, edp: 0, pp: 0 })).toThrow(new RangeError("ep -1 is outside 0..0"))
  })
})

describe("who writes", () => {
  it("is the first copy of every shard: language tp=2, pp=2 on ranks 0-3 and images tp=2 on 4-5 fill six files", () => {
    const language = parallelism({ tp: 2, pp: 2 })
    const images = parallelism({ tp: 2, rankOffset: 4 })
    expect(writerRank(language, { pp: 0, tp: 0 })).toBe(0)
    expect(writerRank(language, { pp: 0, tp: 1 })).toBe(1)
    expect(writerRank(language, { pp: 1, tp: 0 })).toBe(2)
    expect(writerRank(language, { pp: 1, tp: 1 })).toBe(3)
    expect(writerRank(language, { pp: 1 })).toBe(2)
    expect(writerRank(images, { pp: 0 })).toBe(4)
    expect(writerRank(images, { pp: 0, tp: 1 })).toBe(5)
  })

  it("is a dp copy for experts: with ep=2, dp=2 both ranks write, though only one has the main dense weights", () => {
    const language = parallelism({ dp: 2, ep: 2 })
    expect(writerRank(language, { pp: 0 })).toBe(0)
    expect(writerRank(language, { pp: 0, ep: 0, etp: 0 })).toBe(0)
    expect(writerRank(language, { pp: 0, ep: 1, etp: 0 })).toBe(1)
    expect([0, 1].map((rank) => isDenseMainReplica(language, rank))).toEqual([true, false])
    expect([0, 1].map((rank) => isExpertMainReplica(language, rank))).toEqual([true, true])
  })

  it("skips cp and dp copies", () => {
    const p = parallelism({ tp: 2, cp: 2, dp: 2, pp: 2, rankOffset: 10 })
    expect(ranksOf(p).filter((rank) => isDenseMainReplica(p, rank))).toEqual([10, 11, 18, 19])
    expect(ranksOf(p).filter((rank) => isExpertMainReplica(p, rank))).toEqual([10, 18])
  })

  it("is a main replica, and every main replica writes", () => {
    for (const p of randomParallelisms(100, 2)) {
      const dense = denseAxes(p)
      const stages = Array.from({ length: p.pp }, (_, pp) => pp)
      const expected = stages.flatMap((pp) => Array.from({ length: p.tp }, (_, tp) => writerRank(p, { pp, tp })))
      expect(ranksOf(p).filter((rank) => isDenseMainReplica(p, rank))).toEqual(expected)
      const experts = stages.flatMap((pp) =>
        Array.from({ length: p.ep * p.etp }, (_, index) =>
          writerRank(p, { pp, ep: Math.floor(index / p.etp), etp: index % p.etp })))
      expect(ranksOf(p).filter((rank) => isExpertMainReplica(p, rank))).toEqual(experts)
      expect(stages.map((pp) => writerRank(p, { pp }))).toEqual(stages.map((pp) => p.rankOffset + pp * dense.at(-1)!.stride))
    }
  })

  it("does not exist for parts the component has not", () => {
    expect(() => writerRank(parallelism({}), { pp: 1 })).toThrow(new RangeError("pp 1 is outside 0..0"))
    expect(() => writerRank(parallelism({ ep: 2, dp: 2 }), { pp: 0, ep: 2, etp: 0 })).toThrow(RangeError)
  })
})
