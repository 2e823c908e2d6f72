/** What every driver of a world promises: the same tests over sockets, through TLS and over files, and alone. */
import { Effect } from "effect"
import { readdirSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { eachUnit, World } from "../../src/cluster/World.ts"
import { InvalidFile, LaunchError, PeerFailed } from "../../src/errors.ts"
import { everywhere, folder, launch } from "./harness/worlds.ts"

const program = Effect.gen(function*() {
  const world = yield* World
  yield* world.agree("sources", "abc")
  const planned = yield* world.broadcast("plan", z.object({ units: z.array(z.int()) }), world.rank === 0 ? { units: [5, 1, 4, 2, 3, 9] } : undefined)
  const ranks = yield* world.allGather("ranks", z.int(), world.rank)
  const odd = world.group("odd", ranks.filter((rank) => rank % 2 === 1))
  const odds = odd === undefined ? undefined : yield* odd.gather("odd ranks", z.int(), world.rank)
  const work = world.work("files", planned.units, z.string())
  yield* eachUnit(work, (unit) => Effect.sync(() => {
    world.progress(planned.units[unit]!)
    return `unit ${unit}`
  }))
  const results = yield* work.results()
  yield* world.barrier("committed")
  return { ranks, odds, results, total: world.rank === 0 ? world.total() : undefined }
})

const drivers = [["WebSockets", "directory"], ["TLS", "tls+directory"], ["files", "file"]] as const

describe.each(drivers)("over %s", (_, rendezvous) => {
  it("processes plan, share, gather and finish", async () => {
    const directory = folder()
    const ended = await everywhere(4, () => program, () => ({ directory, rendezvous }))
    const results = ["unit 0", "unit 1", "unit 2", "unit 3", "unit 4", "unit 5"]
    expect(ended).toEqual([
      { ranks: [0, 1, 2, 3], odds: undefined, results, total: expect.any(Number) },
      { ranks: [0, 1, 2, 3], odds: [1, 3], results: undefined, total: undefined },
      { ranks: [0, 1, 2, 3], odds: undefined, results: undefined, total: undefined },
      { ranks: [0, 1, 2, 3], odds: undefined, results: undefined, total: undefined }
    ])
    expect(readdirSync(directory)).toEqual([])
  })

  it("the first failure ends all, with rank, host, file and tensor", async () => {
    const directory = folder()
    const ended = await everywhere(3, (rank) => Effect.gen(function*() {
      const world = yield* World
      yield* world.barrier("begun")
      if (rank === 1) return yield* new InvalidFile({ path: "model.safetensors", code: "safetensors/offset", problem: "bytes are missing", place: { tensor: "a.weight" }, hint: "Get it again." })
      return yield* world.barrier("never")
    }), () => ({ directory, rendezvous }))
    expect(ended[1]).toBeInstanceOf(InvalidFile)
    for (const error of [ended[0], ended[2]]) {
      expect(error).toBeInstanceOf(PeerFailed)
      expect(error).toMatchObject({ rank: 1, rootCode: "safetensors/offset", rootExitCode: 3, exitCode: 9, file: "model.safetensors", tensor: "a.weight", hint: "Get it again." })
    }
  })

  it("two views of the source are refused by name", async () => {
    const directory = folder()
    const ended = await everywhere(3, () => program, (rank) => ({ directory, rendezvous, plan: rank === 2 ? "another" : "plan" }))
    expect(ended[2]).toBeInstanceOf(LaunchError)
    for (const error of ended) expect(error).toMatchObject({ message: expect.stringMatching(/rank 2 on host .+ would do something else than rank 0/) })
  })

  it("two versions of the program are refused by name", async () => {
    const directory = folder()
    const ended = await everywhere(2, () => program, (rank) => ({ directory, rendezvous, version: `${rank}` }))
    for (const error of ended) expect(error).toMatchObject({ message: expect.stringMatching(/rank 1 on host .+ runs version 1.* rank 0 runs 0/) })
  })

  it("an interrupted process takes the others with it", async () => {
    const directory = folder()
    const ended = await everywhere(2, (rank) => Effect.gen(function*() {
      const world = yield* World
      yield* world.barrier("begun")
      return rank === 1 ? yield* Effect.interrupt : yield* world.barrier("never")
    }), () => ({ directory, rendezvous }))
    expect(ended[0]).toMatchObject({ rank: 1, rootCode: "interrupted" })
  })

  it("a job without a name is refused", async () => {
    const [error] = await everywhere(1, () => program, () => ({ directory: folder(), rendezvous, launch: { rank: 0, worldSize: 2, launcher: "PMI", attempt: 0 } }))
    expect(error).toMatchObject({ code: "launch/incomplete", message: expect.stringContaining("MEGATRON_MIMO_RUN_ID") })
  })

  it("who comes without the others is told for whom it waited", async () => {
    const directory = folder()
    const limits = { join: 300, beat: 100, silence: 1000, planning: 1000 }
    const [leader] = await everywhere(1, () => program, () => ({ directory, rendezvous, limits, launch: launch(0, 3) }))
    expect(leader).toMatchObject({ code: "cluster/join", exitCode: 8, message: expect.stringContaining("2 of 3 processes did not join within 0.3 s: ranks 1, 2") })
    const [follower] = await everywhere(1, () => program, () => ({ directory: folder(), rendezvous, limits, launch: launch(1, 3) }))
    expect(follower).toMatchObject({ code: "cluster/join", exitCode: 8, message: expect.stringContaining("rank 0") })
  })
})

it("alone there is nobody to wait for, and nothing is left anywhere", async () => {
  const directory = folder()
  const results = ["unit 0", "unit 1", "unit 2", "unit 3", "unit 4", "unit 5"]
  expect(await everywhere(1, () => program, () => ({ directory }))).toEqual([{ ranks: [0], odds: undefined, results, total: 24 }])
  expect(readdirSync(directory)).toEqual([])
})
