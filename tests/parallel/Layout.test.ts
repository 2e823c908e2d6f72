import { describe, expect, it } from "vitest"
import { describeLayout, resolveLayout, standardLayout } from "../../src/parallel/Layout.ts"
import { parseComponent } from "../../src/parallel/ModuleParallelism.ts"
import { refusal } from "./refusal.ts"

const MODEL = ["language", "images"]

const resolve = (flags: ReadonlyArray<string>, worldSize?: number, model = MODEL) =>
  resolveLayout(flags.map(parseComponent), model, worldSize === undefined ? {} : { worldSize })

/** A layout in few words: `language tp2 0-1 | images 2`, sizes of 1 left out. */
const summary = (...args: Parameters<typeof resolve>): string =>
  describeLayout(resolve(...args)).map(({ component, ranks, ...sizes }) =>
    [component, ...Object.entries(sizes).filter(([, size]) => size !== 1).map(([name, size]) => name + size), ranks].join(" ")
  ).join(" | ")

describe("without any flag", () => {
  it("gives every component one rank, one after the other", () => {
    expect(resolve([])).toEqual({
      worldSize: 2,
      components: [
        { name: "language", parallelism: { tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0 } },
        { name: "images", parallelism: { tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 1 } }
      ]
    })
  })

  it("shares out the world if there is one", () => {
    expect(summary([], 8)).toBe("language dp4 0-3 | images dp4 4-7")
  })
})

describe("layouts the reference has converted with", () => {
  it.each([
    [["language=tp=1", "images=tp=1"], 2, "language 0 | images 1"],
    [["language=tp=2", "images=tp=2"], 4, "language tp2 0-1 | images tp2 2-3"],
    [["language=tp=2,dp=1,rank_offset=0", "images=tp=1,dp=1,rank_offset=2"], 3, "language tp2 0-1 | images 2"],
    [["language=tp=1,pp=2,dp=1,rank_offset=0", "images=tp=1,dp=1,rank_offset=2"], 3, "language pp2 0-1 | images 2"],
    [["language=tp=2,pp=2,dp=1,rank_offset=0", "images=tp=2,dp=1,rank_offset=4"], 6, "language tp2 pp2 0-3 | images tp2 4-5"],
    [["language=tp=1,ep=2,dp=2,rank_offset=0", "images=tp=1,dp=2,rank_offset=2"], 4, "language dp2 ep2 0-1 | images dp2 2-3"]
  ])("%j on %i ranks", (flags, worldSize, expected) => {
    expect(summary(flags, worldSize)).toBe(expected)
    expect(summary(flags)).toBe(expected)
    expect(resolve(flags).worldSize).toBe(worldSize)
  })
})

describe("with a world size", () => {
  it("gives components without dp equal shares", () => {
    expect(summary(["language=tp=4", "images=tp=2"], 16)).toBe("language tp4 dp2 0-7 | images tp2 dp4 8-15")
    expect(summary(["language=pp=2,cp=2", "images=tp=1"], 8)).toBe("language pp2 cp2 0-3 | images dp4 4-7")
  })

  it("keeps a given dp beside shares", () => {
    expect(summary(["language=tp=2,dp=2", "images=tp=2"], 8)).toBe("language tp2 dp2 0-3 | images tp2 dp2 4-7")
  })

  it("refuses a world that does not divide", () => {
    expect(refusal(() => resolve(["language=tp=2", "images=tp=1"], 3))).toMatchInlineSnapshot(`
      "3 ranks cannot be shared evenly by 2 components
        give dp and rank_offset for every component (language has no dp)"
    `)
    expect(refusal(() => resolve(["language=tp=4,pp=2", "images=tp=1"], 8))).toMatchInlineSnapshot(`
      "component language: its 4 ranks are not divisible by tp·pp·cp = 8 (tp=4, pp=2, cp=1)
        give dp for every component, or change its sizes or the world size"
    `)
  })

  it("refuses a world that the components do not fill, or overflow", () => {
    expect(refusal(() => resolve(["language=dp=2", "images=dp=1"], 4))).toMatchInlineSnapshot(`
      "the components take 3 ranks (language 0-1, images 2), the world has 4
        raise dp, or lower the world size"
    `)
    expect(refusal(() => resolve(["language=dp=4", "images=dp=1"], 4))).toMatchInlineSnapshot(`
      "the components take 5 ranks (language 0-3, images 4), the world has 4
        lower dp, or use a world of 5 ranks"
    `)
  })

  it.each([0, -1, 1.5, NaN, 1_048_577])("refuses a world of %s ranks", (worldSize) => {
    expect(refusal(() => resolve([], worldSize))).toBe(`the world size must be a whole number from 1 to 1048576, not ${worldSize}`)
  })
})

describe("without a world size", () => {
  it("takes as few data-parallel ranks as the experts need", () => {
    expect(summary(["language=ep=4", "images=tp=1"])).toBe("language dp4 ep4 0-3 | images 4")
    expect(summary(["language=tp=2,ep=4", "images=tp=1"])).toBe("language tp2 dp2 ep4 0-3 | images 4")
    expect(summary(["language=tp=4,ep=2,etp=2", "images=tp=1"])).toBe("language tp4 ep2 etp2 0-3 | images 4")
    expect(summary(["language=tp=4,ep=6", "images=tp=1"])).toBe("language tp4 dp3 ep6 0-11 | images 12")
  })
})

describe("ranks left open", () => {
  it("follow the order of the flags", () => {
    expect(summary(["images=tp=1", "language=tp=4"])).toBe("images 0 | language tp4 1-4")
  })

  it("pass over ranks that were given explicitly", () => {
    expect(summary(["language=tp=4,rank_offset=1", "images=tp=1"])).toBe("language tp4 1-4 | images 0")
    expect(summary(["language=tp=2", "images=tp=1,rank_offset=0"])).toBe("language tp2 1-2 | images 0")
    expect(summary(["audio=tp=1", "language=tp=4,rank_offset=1", "images=tp=1"], undefined, ["language", "images", "audio"]))
      .toBe("audio 0 | language tp4 1-4 | images 5")
  })

  it("keep an explicit offset although dp is filled in", () => {
    expect(summary(["language=tp=1,rank_offset=1", "images=tp=1,rank_offset=0"], 2)).toBe("language 1 | images 0")
  })
})

describe("describeLayout", () => {
  it("prints the columns in one order, however the flag had them", () => {
    const rows = describeLayout(resolve(["language=rank_offset=1,dp=2,pp=2,tp=2", "images=tp=1"]))
    expect(rows.map((row) => Object.entries(row).map(([key, value]) => `${key}=${value}`).join(" "))).toEqual([
      "component=language tp=2 pp=2 dp=2 cp=1 ep=1 etp=1 ranks=1-8",
      "component=images tp=1 pp=1 dp=1 cp=1 ep=1 etp=1 ranks=0"
    ])
  })
})

describe("rules, in their order", () => {
  it("1: there is a language component", () => {
    expect(refusal(() => resolve(["langauge=tp=2", "images=tp=3,ep=2"]))).toMatchInlineSnapshot(`
      "no component "language": given are langauge, images
        the components of this model are language, images"
    `)
  })

  it("2: sizes and ranks stay below the largest world", () => {
    expect(refusal(() => resolve(["language=tp=1048576", "images=tp=1"]))).toContain("component images: ")
    expect(refusal(() => resolve(["language=tp=1024,pp=1024,cp=2", "images=tp=1"]))).toContain("asks for ranks past 1048576")
    expect(refusal(() => resolve(["language=ep=1048576,etp=2", "images=tp=1"]))).toContain("dp must be a whole number")
  })

  it("3: experts are copied a whole number of times", () => {
    expect(refusal(() => resolve(["language=tp=2,dp=1,etp=3", "images=tp=1"]))).toMatchInlineSnapshot(`
      "component language: tp·cp·dp = 2 is not divisible by etp·ep = 3 (tp=2, cp=1, dp=1, etp=3, ep=1)
        raise dp, or lower ep or etp: experts are spread over the tp·cp·dp ranks of a pipeline stage"
    `)
    expect(refusal(() => resolve(["language=ep=4", "images=tp=1"], 4))).toContain("tp·cp·dp = 2 is not divisible by etp·ep = 4")
  })

  const overlapping = ["language=dp=4,rank_offset=2", "images=dp=4,rank_offset=0"]
  const gap = ["language=tp=2,dp=1,rank_offset=3", "images=dp=1,rank_offset=0"]

  it.each([[overlapping], [overlapping.toReversed()]])("4: ranges do not overlap: %j", (flags) => {
    expect(refusal(() => resolve(flags))).toBe(
      "components images and language share ranks 2-3 (images 0-3, language 2-5)\n" +
        "  every component needs ranks of its own: give language rank_offset=4, or leave rank_offset out"
    )
  })

  it("4: components on the very same ranks overlap, too", () => {
    expect(refusal(() => resolve(["language=tp=2,dp=1,rank_offset=0", "images=dp=2,rank_offset=0"])))
      .toContain("components language and images share ranks 0-1")
  })

  it.each([[gap], [gap.toReversed()]])("4: ranges leave no gap: %j", (flags) => {
    expect(refusal(() => resolve(flags))).toBe(
      "no component has ranks 1-2 (images 0, language 3-4)\n  give language rank_offset=1, or leave rank_offset out"
    )
  })

  it("4: the first range starts at rank 0", () => {
    expect(refusal(() => resolve(["language=rank_offset=1", "images=rank_offset=2"]))).toContain("no component has ranks 0 (")
  })

  it("5: encoders have no experts", () => {
    expect(refusal(() => resolve(["language=tp=1", "images=ep=2,dp=2"]))).toMatchInlineSnapshot(`
      "component images: ep=2, etp=1, but only "language" can have experts
        leave ep and etp out for images"
    `)
    expect(refusal(() => resolve(["language=tp=1", "images=tp=2,etp=2"]))).toContain("ep=1, etp=2")
  })

  it("6: tp is a power of two", () => {
    expect(refusal(() => resolve(["language=tp=6", "images=tp=1"]))).toMatchInlineSnapshot(`
      "component language: tp=6 is not a power of two
        use tp=4 or tp=8: components exchange activations over tp groups of 1, 2, 4, 8, … ranks"
    `)
    expect(refusal(() => resolve(["language=tp=1", "images=tp=3"]))).toContain("component images: tp=3")
  })

  it("7: of two dp sizes one divides the other, whichever component is larger", () => {
    expect(refusal(() => resolve(["language=dp=2", "images=dp=3"]))).toMatchInlineSnapshot(`
      "component language has dp=2, images has dp=3: neither divides the other
        change one of them so that batches can be handed over in whole parts"
    `)
    expect(summary(["images=dp=1", "language=dp=4"])).toBe("images 0 | language dp4 1-4")
    expect(summary(["images=dp=6", "language=dp=3"])).toBe("images dp6 0-5 | language dp3 6-8")
    expect(refusal(() => resolve(["language=dp=12", "images=dp=4", "audio=dp=6"], undefined, [...MODEL, "audio"])))
      .toContain("images has dp=4, audio has dp=6")
  })

  it("8: the components are those of the model", () => {
    expect(refusal(() => resolve(["language=tp=1", "vision=tp=1"]))).toMatchInlineSnapshot(`
      "this model has no component vision; no ranks are given for component images
        the components of this model are language, images"
    `)
    expect(refusal(() => resolve(["language=tp=1"]))).toContain("no ranks are given for component images")
    expect(refusal(() => resolve(["language=tp=1", "images=tp=1", "audio=tp=1"]))).toContain("this model has no component audio")
  })

  it("no component is given twice", () => {
    expect(refusal(() => resolve(["language=tp=1", "language=tp=2"]))).toBe("component language is given twice")
  })
})

describe("standardLayout", () => {
  const summaryOf = (...args: Parameters<typeof standardLayout>) => describeLayout(standardLayout(...args))

  it("is one component on all ranks", () => {
    expect(summaryOf()).toEqual([{ component: "model", tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1, ranks: "0" }])
    expect(summaryOf({ tp: 2, pp: 3 })).toEqual([{ component: "model", tp: 2, pp: 3, dp: 1, cp: 1, ep: 1, etp: 1, ranks: "0-5" }])
  })

  it("fills dp from the world, or from what the experts need", () => {
    expect(summaryOf({ tp: 2 }, { worldSize: 8 })[0]).toMatchObject({ dp: 4, ranks: "0-7" })
    expect(summaryOf({ ep: 8, pp: 2 })[0]).toMatchObject({ dp: 8, ranks: "0-15" })
  })

  it("has no use for powers of two", () => {
    expect(summaryOf({ tp: 3 })[0]).toMatchObject({ tp: 3, ranks: "0-2" })
  })

  it("refuses worlds that tp·pp·cp or etp·ep·pp do not divide", () => {
    expect(refusal(() => standardLayout({ tp: 2, pp: 2 }, { worldSize: 6 })))
      .toContain("component model: its 6 ranks are not divisible by tp·pp·cp = 4 (tp=2, pp=2, cp=1)")
    expect(refusal(() => standardLayout({ tp: 2, ep: 4 }, { worldSize: 2 })))
      .toContain("tp·cp·dp = 2 is not divisible by etp·ep = 4")
    expect(refusal(() => standardLayout({ tp: 2, dp: 2 }, { worldSize: 8 })))
      .toContain("the components take 4 ranks (model 0-3), the world has 8")
    expect(refusal(() => standardLayout({ tp: 0 }))).toContain("tp must be a whole number from 1")
    expect(refusal(() => standardLayout({}, { worldSize: 0 }))).toContain("the world size")
  })
})

describe("any order of the flags", () => {
  it("gives the same ranks when offsets are explicit", () => {
    const flags = ["language=tp=2,dp=2,rank_offset=3", "images=dp=2,rank_offset=1", "audio=rank_offset=0"]
    const model = ["language", "images", "audio"]
    const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    for (const order of orders) {
      expect(summary(order.map((index) => flags[index]!), undefined, model).split(" | ").toSorted())
        .toEqual(["audio 0", "images dp2 1-2", "language tp2 dp2 3-6"])
    }
  })
})
