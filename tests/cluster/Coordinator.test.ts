/** What processes of a job can rely on, in time that the test moves. */
import { Effect } from "effect"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { dealt } from "../../src/cluster/dealt.ts"
import { ranksIn, runsOf, runsText } from "../../src/cluster/rankRuns.ts"
import type { WorldCalls } from "../../src/cluster/World.ts"
import { ClusterError, LaunchError, PeerFailed } from "../../src/errors.ts"
import { begun, Job, type Process, together, watch } from "./harness/job.ts"

const errorsOf = (processes: ReadonlyArray<Process>) => processes.map(({ member }) => member.error)

describe("steps", () => {
  it("gather and allGather keep the order of the group, broadcast is the first member's", async () => {
    const { job, worlds } = await begun(3)
    expect(await together(job, worlds.map((world) => world.allGather("letters", z.string(), "abc"[world.rank]!)))).toEqual([["a", "b", "c"], ["a", "b", "c"], ["a", "b", "c"]])
    expect(await together(job, worlds.map((world) => world.gather("letters", z.string(), "abc"[world.rank]!)))).toEqual([["a", "b", "c"], undefined, undefined])
    expect(await together(job, worlds.map((world) => world.broadcast("plan", z.object({ n: z.int() }), world.rank === 0 ? { n: 7 } : undefined)))).toEqual([{ n: 7 }, { n: 7 }, { n: 7 }])
  })

  it("a barrier holds until the last has come", async () => {
    const { job, worlds } = await begun(3)
    const early = watch(Effect.runPromise(worlds[0]!.barrier("written").pipe(Effect.as("through"))))
    Effect.runFork(worlds[2]!.barrier("written"))
    await job.settle()
    expect(early).toEqual({})
    await together(job, [worlds[1]!.barrier("written")])
    expect(early).toEqual({ value: "through" })
  })

  it("groups run beside each other, and exist for their members alone", async () => {
    const { job, worlds } = await begun(4)
    const groups = worlds.map((world) => world.group(world.rank % 2 === 0 ? "even" : "odd", world.rank % 2 === 0 ? [0, 2] : [3, 1])!)
    expect(worlds[0]!.group("odd", [3, 1])).toBeUndefined()
    const values = await together(job, groups.map((group, rank) => group.allGather("r", z.int(), rank)))
    expect(values).toEqual([[0, 2], [3, 1], [0, 2], [3, 1]])
  })

  it("a time-out names who is missing, and is that process's own", async () => {
    const { job, worlds } = await begun(4)
    const waiting = watch(Effect.runPromise(worlds[0]!.barrier("written", { timeout: 20_000 })))
    Effect.runFork(worlds[2]!.barrier("written"))
    await job.pass(19_000)
    expect(waiting).toEqual({})
    await job.pass(2_000)
    expect(waiting.error).toBeInstanceOf(ClusterError)
    expect((waiting.error as ClusterError).message).toBe("barrier written was not complete within 20 s: ranks 1, 3 are missing")
    expect(job.coordinator.failure).toBeUndefined()
  })

  it.each([
    ["other steps", (world: WorldCalls) => (world.rank === 1 ? world.barrier("b") : world.barrier("a")), "cluster/order", /rank 1 is at barrier b where rank 0 is at barrier a/],
    ["another idea of the group", (world: WorldCalls) => world.group("g", world.rank === 1 ? [0, 1] : [0, 1, 2])!.barrier("x"), "cluster/order", /another idea of who is in group/],
    ["another plan", (world: WorldCalls) => world.agree("sums", world.rank === 2 ? "x" : "y"), "launch/plan", /rank 2 does not have what rank 0 has at sums/],
    ["values that are too large", (world: WorldCalls) => world.allGather("big", z.string(), "x".repeat(400_000)), "cluster/too-large", /more than 1000000 bytes/]
  ] as const)("%s end the job", async (_, step, code, message) => {
    const { job, worlds } = await begun(3)
    await expect(together(job, worlds.map((world) => step(world) as Effect.Effect<unknown, unknown>))).rejects.toThrow(message)
    expect(job.coordinator.failure?.code).toBe(code)
  })
})

describe("work", () => {
  it("is dealt by bytes, the same everywhere", () => {
    expect(dealt([5, 9, 1, 4], 2)).toEqual([1, 0, 0, 1])
    expect(dealt([0, 0, 0], 2)).toEqual([0, 1, 0])
    const sizes = Array.from({ length: 5000 }, (_, unit) => (unit * 7919) % 1000)
    const bytes = new Array<number>(16).fill(0)
    for (const [unit, rank] of dealt(sizes, 16).entries()) bytes[rank]! += sizes[unit]!
    expect(Math.max(...bytes) / Math.min(...bytes)).toBeLessThan(1.01)
  })

  it("a rank that is ready takes from the one with most left; results come to rank 0 by unit", async () => {
    const { job, worlds } = await begun(2)
    const sizes = [10, 10, 10, 10]
    const works = worlds.map((world) => world.work("files", sizes, z.string(), [0, 0, 0, 1]))
    const take = async (rank: number) => (await together(job, [works[rank]!.take]))[0]
    expect(await take(0)).toBe(0)
    expect(await take(1)).toBe(3)
    await together(job, [works[1]!.done(3, "d")])
    const stolen = await take(1)
    expect(stolen).toBe(1)
    await together(job, [works[1]!.done(1, "b")])
    expect(await take(1)).toBe(2)
    const results = watch(Effect.runPromise(works[0]!.results()))
    const idle = watch(Effect.runPromise(works[0]!.done(0, "a").pipe(Effect.andThen(works[0]!.take), Effect.map((unit) => unit ?? "none"))))
    await job.settle()
    expect([results, idle]).toEqual([{}, {}])
    await together(job, [works[1]!.done(2, "c")])
    expect([results, idle]).toEqual([{ value: ["a", "b", "c", "d"] }, { value: "none" }])
  })

  it("a unit without progress goes to another rank; whoever is second is not accepted", async () => {
    const { job, worlds } = await begun(2)
    const works = worlds.map((world) => world.work("files", [1], z.string(), [0]))
    await together(job, [works[0]!.take])
    const again = watch(Effect.runPromise(works[1]!.take))
    await job.pass(job.limits.lease / 2)
    worlds[0]!.progress(1)
    await job.pass(job.limits.lease * 0.8)
    expect(again).toEqual({})
    await job.pass(job.limits.lease / 2)
    expect(again).toEqual({ value: 0 })
    expect(await together(job, [works[1]!.done(0, "a"), works[0]!.done(0, "late")])).toEqual([true, false])
    expect(await together(job, [works[0]!.results()])).toEqual([["a"]])
  })

  /** Rank 1 has done a unit in ten seconds; rank 0 makes progress, but is not done after more than thirty. */
  const withSlowRank = async () => {
    const { job, processes, worlds } = await begun(2)
    const works = worlds.map((world) => world.work("files", [8, 8], z.string(), [0, 1]))
    await together(job, works.map((work) => work.take))
    const superseded = watch(Effect.runPromise(Effect.as(works[0]!.superseded(0), "superseded")))
    await job.pass(10_000)
    await together(job, [works[1]!.done(1, "b")])
    const again = watch(Effect.runPromise(works[1]!.take))
    for (let second = 10; second < 29; second++) {
      worlds[0]!.progress(1)
      await job.pass(1000)
    }
    expect(again).toEqual({})
    await job.pass(5000)
    expect(again).toEqual({ value: 0 })
    await together(job, [works[1]!.done(0, "a")])
    expect(superseded).toEqual({ value: "superseded" })
    return { job, processes, works, results: watch(Effect.runPromise(works[0]!.results())) }
  }

  it("a unit of a slow rank is done by another as well; the slow one is told, and there are results once it has left off", async () => {
    const { job, results, works } = await withSlowRank()
    await job.settle()
    expect(results).toEqual({})
    await together(job, [works[0]!.leaveOff(0)])
    expect(results).toEqual({ value: ["a", "b"] })
  })

  it("a rank that does not leave off ends the job: it may still write", async () => {
    const { job, processes, results } = await withSlowRank()
    await job.pass(job.limits.silence + 2000)
    expect(results.error).toMatchObject({ code: "cluster/lost" })
    expect(processes[1]!.member.error).toMatchObject({ rank: 0, rootCode: "cluster/lost", problem: expect.stringContaining("does not leave off a part of work files") })
  })

  it("what nobody else has done cannot be left off", async () => {
    const { job, processes, worlds } = await begun(2)
    const [work] = worlds.map((world) => world.work("files", [1], z.string(), [0]))
    await together(job, [work!.take])
    await together(job, [work!.leaveOff(0)])
    expect(processes[1]!.member.error).toMatchObject({ rank: 0, rootCode: "cluster/protocol" })
  })

  it("a rank that has not begun keeps its share, but not for longer than a lease", async () => {
    const { job, worlds } = await begun(3)
    const works = worlds.map((world) => world.work("files", [1, 1, 1], z.string(), [0, 1, 1]))
    await together(job, [works[0]!.take])
    await together(job, [works[0]!.done(0, "a")])
    const more = watch(Effect.runPromise(works[0]!.take))
    await job.pass(job.limits.lease * 0.9)
    expect(more).toEqual({})
    expect(await together(job, [works[1]!.take])).toEqual([1])
    await job.pass(2000)
    expect(more).toEqual({ value: 2 })
    const last = watch(Effect.runPromise(works[2]!.take))
    await job.pass(job.limits.lease / 4)
    expect(last.value).toBe(1)
  })

  it("may be asked for before rank 0 has opened it, but not by another count", async () => {
    const { job, worlds } = await begun(2)
    const early = watch(Effect.runPromise(worlds[1]!.work("files", [1, 2], z.null()).take))
    await job.settle()
    expect(early).toEqual({})
    worlds[0]!.work("files", [1, 2], z.null())
    await job.settle()
    expect(early).toEqual({ value: 0 })
    await expect(together(job, [worlds[1]!.work("files", [1], z.null()).take])).rejects.toThrow("rank 1 knows 1 units of work files, rank 0 2")
  })

  it("bytes of all ranks are one sum at rank 0", async () => {
    const { job, worlds } = await begun(3)
    for (const world of worlds) world.progress(10 * (world.rank + 1))
    await job.pass(2_000)
    worlds[1]!.progress(5)
    await job.pass(2_000)
    expect(worlds.map((world) => world.total())).toEqual([65, 0, 0])
  })
})

describe("the first failure", () => {
  it("wins, and all others end with it within a beat", async () => {
    const { job, processes, worlds } = await begun(4)
    const waiting = worlds.slice(1).map((world) => watch(Effect.runPromise(world.barrier("never"))))
    processes[2]!.member.fail({ rank: 2, host: "n2", code: "io/EIO", problem: "the disk is gone", exitCode: 7, file: "model.safetensors", tensor: "a.weight" })
    processes[3]!.member.fail({ rank: 3, host: "n3", code: "x", problem: "later", exitCode: 3 })
    await job.settle()
    for (const error of [...errorsOf(processes), ...waiting.map((seen) => seen.error)]) {
      expect(error).toBeInstanceOf(PeerFailed)
      expect(error).toMatchObject({ rank: 2, file: "model.safetensors", tensor: "a.weight", rootExitCode: 7, rootCode: "io/EIO", exitCode: 9 })
    }
    expect(waiting[0]).toMatchObject({ error: { message: expect.stringMatching(/^rank 2 on host .+ failed \(file model.safetensors, tensor a.weight\): the disk is gone$/) } })
  })

  it("ends calls that come later, and whoever joins later", async () => {
    const { job, worlds, processes } = await begun(2)
    processes[1]!.kill()
    await job.settle()
    await expect(Effect.runPromise(worlds[0]!.barrier("x"))).rejects.toThrow("rank 1 on host")
    const late = job.start(1, 2)
    const hello = watch(late.member.hello())
    await job.settle()
    expect(hello.error).toMatchObject({ code: "cluster/lost" })
  })
})

describe("leaving", () => {
  it("is no failure, and the coordinator knows when all have gone", async () => {
    const { job, processes } = await begun(3)
    const gone = processes.map(({ member }) => watch(member.leave().then(() => "gone")))
    await job.settle()
    expect(gone).toEqual(gone.map(() => ({ value: "gone" })))
    for (const process of processes) process.cut()
    await job.settle()
    expect([job.coordinator.isOver, job.coordinator.failure, ...errorsOf(processes)]).toEqual([true, undefined, undefined, undefined, undefined])
  })
})

describe("refused:", () => {
  const newcomer = async (job: Job, process: Process) => {
    const hello = watch(process.member.hello())
    await job.settle()
    return hello.error as ClusterError | LaunchError
  }

  it("another plan, another version, another size of the world end the job, for both sides by name", async () => {
    for (const [other, size, code, text] of [
      [{ plan: "other" }, 2, "launch/plan", /rank 1 on host .+ would do something else than rank 0/],
      [{ version: "2" }, 2, "launch/version", /runs version 2 \(protocol 2\), rank 0 runs 1/],
      [{}, 4, "launch/world", /was told of 4 processes, rank 0 of 2/]
    ] as const) {
      const job = new Job({ world: 2 })
      const first = job.start(0, 2)
      void first.member.hello()
      await job.settle()
      const error = await newcomer(job, job.start(1, size, other))
      expect([error, error.code]).toEqual([expect.any(LaunchError), code])
      expect(error.message).toMatch(text)
      expect(first.member.error).toMatchObject({ rank: 1, rootCode: code, problem: expect.stringMatching(text) })
    }
  })

  it("a second holder of a rank, while the first goes on", async () => {
    const { job, worlds } = await begun(2)
    expect(await newcomer(job, job.start(1, 2))).toMatchObject({ _tag: "ClusterError", code: "cluster/duplicate" })
    await together(job, worlds.map((world) => world.barrier("still here")))
  })

  it("another run, and an older attempt, while this one goes on", async () => {
    const { job, worlds } = await begun(2, { run: { run: "run", attempt: 2 } })
    expect(await newcomer(job, job.start(1, 2, { run: { run: "other", attempt: 2 } }))).toMatchObject({ code: "cluster/superseded" })
    expect(await newcomer(job, job.start(1, 2, { run: { run: "run", attempt: 1 } }))).toMatchObject({ code: "cluster/superseded", message: expect.stringContaining("attempt 1 was given up: attempt 2 runs") })
    await together(job, worlds.map((world) => world.barrier("still here")))
  })

  it("a coordinator of an older attempt ends its own", async () => {
    const { job, processes } = await begun(2)
    expect(await newcomer(job, job.start(1, 2, { run: { run: "run", attempt: 1 } }))).toMatchObject({ code: "cluster/duplicate" })
    for (const error of errorsOf(processes)) expect(error).toMatchObject({ problem: "attempt 1 of the job has begun, this was attempt 0" })
  })
})

describe("silence", () => {
  /** A job whose processes have planned. */
  const planned = async (size: number) => {
    const all = await begun(size)
    await together(all.job, all.worlds.map((world) => world.agree("the plan", "digest")))
    return all
  }

  it("a process that is stopped is lost after three beats, not before", async () => {
    const { job, processes } = await planned(3)
    processes[1]!.isStopped = true
    await job.pass(14_000)
    expect(errorsOf(processes)).toEqual([undefined, undefined, undefined])
    await job.pass(3_000)
    expect(processes[2]!.member.error).toMatchObject({ rank: 1, rootCode: "cluster/lost", problem: "it was lost: no sign of life for 15 s" })
  })

  it("who plans may be silent for longer, at either end, but not for ever", async () => {
    const { job, processes, worlds } = await begun(3)
    await together(job, worlds.map((world) => world.broadcast("found while planning", z.int(), 1)))
    processes[1]!.isStopped = true
    await job.pass(100_000)
    expect(errorsOf(processes)).toEqual([undefined, undefined, undefined])
    job.isCoordinatorStopped = true
    await job.pass(15_000)
    expect(processes[2]!.member.error).toBeUndefined()
    job.isCoordinatorStopped = false
    await job.pass(10_000)
    expect(processes[2]!.member.error).toMatchObject({ rank: 1, rootCode: "cluster/lost", problem: "it was lost: no sign of life for 120 s" })
  })

  it("a coordinator that is stopped is lost to all", async () => {
    const { job, processes } = await planned(3)
    job.isCoordinatorStopped = true
    await job.pass(17_000)
    for (const process of processes) expect(process.member.error).toMatchObject({ code: "cluster/coordinator-lost", message: expect.stringContaining("no sign of life for 15 s") })
  })

  it("having been away oneself is not the silence of others", async () => {
    const { job, processes } = await begun(2)
    job.now += 60_000
    job.coordinator.tick()
    for (const process of processes) process.member.tick()
    await job.pass(20_000)
    expect([job.coordinator.failure, ...errorsOf(processes)]).toEqual([undefined, undefined, undefined])
  })

  it("who does not come in time is named, with the connections that were turned away", async () => {
    const job = new Job({ world: 4, limits: { join: 60_000 } })
    const here = [0, 2].map((rank) => job.start(rank, 4))
    for (const process of here) void process.member.hello()
    job.coordinator.turnedAway()
    await job.pass(62_000)
    expect(here[1]!.member.error).toMatchObject({ problem: "2 of 4 processes did not join within 60 s: ranks 1, 3; 1 connections without the right token were turned away" })
    expect(here[0]!.member.error).toMatchObject({ _tag: "ClusterError", code: "cluster/join" })
  })
})

describe("messages", () => {
  it.each(["", "{", "[]", "null", "{\"is\":\"beat\"}", "{\"run\":\"run\",\"attempt\":0,\"is\":\"sudo\"}", "{\"run\":\"run\",\"attempt\":0,\"is\":\"beat\",\"done\":-1}", "[".repeat(10_000),
    "{\"run\":\"run\",\"attempt\":0,\"is\":\"step\",\"key\":\"k\",\"kind\":\"barrier\",\"what\":\"w\",\"members\":[[0,1048576,1],[0,1048576,1]],\"timeout\":1}"])("of a process that are none end the job by its name: %s", async (data) => {
    const { job, processes } = await begun(2)
    const seat = job.coordinator.connect({ send: () => {}, close: () => {} })
    job.coordinator.receive(seat, data)
    await job.settle()
    // A stranger is merely sent away.
    expect(job.coordinator.failure).toBeUndefined()
    processes[1]!.inject(data)
    await job.settle()
    expect(processes[0]!.member.error).toMatchObject({ rank: 1, rootCode: "cluster/protocol" })
  })

  it("of a coordinator that are none end the process", async () => {
    const { processes } = await begun(2)
    processes[1]!.member.receive("{}")
    expect(processes[1]!.member.error).toMatchObject({ code: "cluster/protocol" })
  })
})

describe("a job of 512 processes", () => {
  it("costs each of them a handful of messages: hello, two steps, progress and good-bye, each answered once", async () => {
    const { job, processes, worlds } = await begun(512)
    await together(job, worlds.map((world) => world.barrier("begun")))
    const sums = await together(job, worlds.map((world) => world.gather("sums", z.int(), world.rank)))
    expect(sums[0]).toHaveLength(512)
    for (const world of worlds) world.progress(1000)
    const gone = Promise.all(processes.map(({ member }) => member.leave()))
    await job.settle()
    await gone
    expect(job.coordinator.total).toBe(512_000)
    expect(job.messages / 512).toBe(9)
  })
})

describe("lists of ranks", () => {
  it.each([[[0]], [[0, 1, 2, 3]], [[0, 2, 4, 6]], [[3, 1]], [[0, 1, 8, 9, 16, 17]], [[5, 5]], [[0, 1, 3, 4, 7]]])("%j survives as runs", (ranks) => {
    expect(ranksIn(runsOf(ranks))).toEqual(ranks)
  })

  it("of a large world are short", () => {
    expect(runsOf(Array.from({ length: 4096 }, (_, rank) => rank))).toEqual([[0, 4096, 1]])
    expect([[0, 1, 2, 3], [0, 4, 8, 12], [0, 2], [5], [0, 1, 8, 9]].map((ranks) => runsText(runsOf(ranks)))).toEqual(["0-3", "0,4,…,12", "0,2", "5", "0-1,8-9"])
  })
})
