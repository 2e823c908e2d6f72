/** The walks of `npm run torture`, shortened: every so many-th point. */
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { changeWalk } from "./changeWalk.ts"
import { faultWalk, type WalkResult } from "./faultWalk.ts"
import { hurry, impatient } from "./hurry.ts"
import { killWalk } from "./killWalk.ts"
import { neighbourWalk } from "./neighbourWalk.ts"
import { powerWalk } from "./powerWalk.ts"
import { type World, worlds } from "./worlds.ts"

const LONG = 120_000
let all: ReadonlyArray<World>
let slow: () => void

beforeAll(async () => {
  const [slow1, slow2] = [hurry(), impatient()]
  slow = () => {
    slow1()
    slow2()
  }
  all = await worlds()
}, LONG)
afterAll(() => slow())

const problemsOf = (results: ReadonlyMap<string, WalkResult>) => [...results.values()].flatMap((r) => r.problems)
const points = (results: ReadonlyMap<string, WalkResult>) => [...results.values()].reduce((sum, r) => sum + r.points, 0)

describe.each([0, 1, 2, 3, 4])("job %i", (i) => {
  it("survives failing calls", async () => {
    const results = await faultWalk(all[i]!, { every: 61, concurrency: 1 })
    expect(problemsOf(results)).toEqual([])
    expect(points(results)).toBeGreaterThan(10)
  }, LONG)

  it("survives failing calls when several are under way", async () => {
    expect(problemsOf(await faultWalk(all[i]!, { every: 211, concurrency: 4 }))).toEqual([])
  }, LONG)

  it("survives loss of power", async () => {
    expect(problemsOf(await powerWalk(all[i]!, { points: 16, seed: 100 * i }))).toEqual([])
  }, LONG)
})

it("sources that change under a job are noticed", async () => {
  for (const world of [all[0]!, all[3]!]) expect(problemsOf(await changeWalk(world, { every: 131 }))).toEqual([])
}, LONG)

it.each([0, 1, 3, 4])("job %i loses nothing to a neighbour, and publishes nothing that is not whole", async (i) => {
  const results = await neighbourWalk(all[i]!, { points: 3 })
  expect(problemsOf(results)).toEqual([])
  expect(points(results)).toBeGreaterThan(20)
}, LONG)

describe("the walk itself notices", () => {
  it.each(["sync", "syncDirectory"] as const)("a disk that forgets %s", async (forget) => {
    const results = await powerWalk(all[1]!, { points: 32, seed: 1, forget })
    expect(problemsOf(results).length).toBeGreaterThan(0)
  }, LONG)
})

it("the real process survives being killed", async () => {
  expect(problemsOf(await killWalk({ points: 6 }))).toEqual([])
}, LONG)
