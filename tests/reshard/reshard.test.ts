/** Checkpoints that trainers wrote, cut for other layouts: the same global tensors, cut as the trainer of that layout cuts them. */
import { Effect } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { reshard, type ReshardRequest, reshardPlan } from "../../src/api/reshard.ts"
import { Disk } from "../../src/io/Disk.ts"
import { trainingCheckpoint, trainingFacts } from "../conformance/training.ts"
import { files, grids, iterationIn, metadataOf, placement, summaries } from "./stored.ts"

const work = mkdtempSync(join(tmpdir(), "reshard-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

let count = 0
const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, Disk.layer) as Effect.Effect<A, E>)
/** Reshard into a new folder, and name it. */
const to = async (from: string, request: ReshardRequest): Promise<string> => {
  const target = join(work, String(count++))
  await run(reshard(from, target, request))
  return target
}
const tensorsOf = (name: string) => Object.fromEntries(Object.entries(trainingFacts(name).tensors).map(([key, { dtype, sha256, shape }]) => [key, { dtype, shape, sha256 }]))

/** Data files of a folder but for random states, which belong to one layout. */
const dataOf = (parent: string) =>
  Object.fromEntries(Object.entries(placement(iterationIn(parent))).map(([file, items]) => [file, items.filter((item) => !item.startsWith("rng_state"))]))

describe("model-space optimizer state", () => {
  it.each<[string, ReshardRequest, ReshardRequest]>([
    ["lm-moe-fully-reshardable-ep2", { tp: 2, pp: 2 }, { ep: 2 }],
    ["lm-weights-only-tp2", { pp: 2, tp: 1 }, { tp: 2 }],
    ["mimo-fully-reshardable", { components: ["language=tp=2", "images=tp=2"] }, { components: ["language=tp=1", "images=tp=1"] }]
  ])("%s there and back", async (name, there, back) => {
    const source = trainingCheckpoint(name)
    const cut = await to(source, there)
    expect(await summaries(iterationIn(cut))).toEqual(tensorsOf(name))
    const again = await to(cut, back)
    expect(await summaries(iterationIn(again))).toEqual(tensorsOf(name))
    expect(grids(iterationIn(again))).toEqual(grids(iterationIn(source)))
    expect(dataOf(again)).toEqual(dataOf(source))
    // From what is written here, there and back is the same byte for byte.
    const third = await to(await to(again, there), back)
    expect(files(iterationIn(third))).toEqual(files(iterationIn(again)))
  })

  it("the layout that it has changes no tensor and keeps the random states", async () => {
    const source = trainingCheckpoint("lm-moe-fully-reshardable-ep2")
    const report = await run(reshardPlan(source, { ep: 2, dp: 2 }))
    expect(report).toMatchObject({ rng: "kept", recut: 0, kept: ["__0_0.distcp", "__1_0.distcp"] })
    const same = await to(source, { link: true })
    expect(await summaries(iterationIn(same))).toEqual(tensorsOf("lm-moe-fully-reshardable-ep2"))
    expect([...metadataOf(iterationIn(same)).objects.keys()].sort()).toEqual([...metadataOf(iterationIn(source)).objects.keys()].sort())
  })

  it("what is not wanted stays behind", async () => {
    const weights = await to(trainingCheckpoint("lm-moe-fully-reshardable-ep2"), { onlyModel: true })
    const { objects, tensors } = metadataOf(iterationIn(weights))
    expect([...tensors.keys()].filter((key) => key.startsWith("optimizer"))).toEqual([])
    expect([...objects.keys()].filter((key) => !key.includes("_extra_state"))).toEqual(["common_state/shard_0_1"])
  })

  it.each<[string, ReshardRequest, string]>([
    ["lm-moe-fully-reshardable-ep2", { tp: 3 }, "cannot be divided among tp=3"],
    ["lm-moe-fully-reshardable-ep2", { pp: 3 }, "2 layers cannot be split evenly into pp=3"],
    ["lm-moe-fully-reshardable-ep2", { ep: 3 }, "4 experts cannot be divided among ep=3"],
    ["lm-moe-fully-reshardable-ep2", { components: ["language=tp=2"] }, "without components"],
    ["mimo-fully-reshardable", { tp: 2 }, "each with a layout of its own"],
    ["lm-moe-fully-reshardable-ep2", { tp: 2, rng: "keep" }, "nobody could take it over"]
  ])("%s: %o is refused", async (name, request, problem) => {
    await expect(run(reshardPlan(trainingCheckpoint(name), request))).rejects.toThrow(problem)
  })
})
