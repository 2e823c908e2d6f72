/** Components have groups of their own, which live. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { collectionsOf, processGroupsOf } from "../../src/cluster/ProcessGroupCollection.ts"
import { singleWorld } from "../../src/cluster/single.ts"
import { resolveLayout } from "../../src/parallel/Layout.ts"
import { parseComponent } from "../../src/parallel/ModuleParallelism.ts"
import { begun, together } from "./harness/job.ts"

const layout = resolveLayout(["language=tp=2,pp=2,dp=1", "images=tp=2"].map(parseComponent), ["language", "images"])

describe("a process", () => {
  it("sees the groups of its own component and skips the others", async () => {
    const { worlds } = await begun(6)
    const own = worlds.map((world) => [...collectionsOf(world, layout.components)].map(([name, { all, embd, pos_embd, pp, tp }]) =>
      [name, tp?.ranks, pp?.ranks, embd?.ranks, pos_embd?.ranks, all.ranks]))
    expect(own).toEqual([
      [["language", [0, 1], [0, 2], [0, 2], [0], [0, 1, 2, 3]]],
      [["language", [0, 1], [1, 3], [1, 3], [1], [0, 1, 2, 3]]],
      [["language", [2, 3], [0, 2], [0, 2], undefined, [0, 1, 2, 3]]],
      [["language", [2, 3], [1, 3], [1, 3], undefined, [0, 1, 2, 3]]],
      [["images", [4, 5], [4], [4], [4], [4, 5]]],
      [["images", [4, 5], [5], [5], [5], [4, 5]]]
    ])
  })

  it("gathers over the groups of one kind at once, those of two components beside each other", async () => {
    const { job, worlds } = await begun(6)
    const groups = worlds.map((world) => [...collectionsOf(world, layout.components).values()][0]!)
    expect(await together(job, groups.map(({ rank, tp }) => tp!.allGather("rank", z.int(), rank)))).toEqual([[0, 1], [0, 1], [2, 3], [2, 3], [4, 5], [4, 5]])
    expect(await together(job, groups.map(({ pp, rank }) => pp!.broadcast("stage 0", z.int(), rank)))).toEqual([0, 1, 0, 1, 4, 5])
    await together(job, groups.map(({ all }) => all.barrier("component done")))
  })

  it("alone is all of a component of one rank", async () => {
    const { components } = resolveLayout([parseComponent("language=tp=1")], ["language"])
    const groups = processGroupsOf(singleWorld(), components[0]!)!
    expect(await Effect.runPromise(groups.expt_dp!.allGather("x", z.string(), "a"))).toEqual(["a"])
    expect(groups.at).toMatchObject({ tp: 0, pp: 0, ep: 0 })
  })
})
