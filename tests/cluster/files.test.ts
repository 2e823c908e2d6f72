/** Meeting in files on file systems that are not like the local one, and what is left of jobs before. */
import { Effect, Layer } from "effect"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { Board } from "../../src/cluster/files/Board.ts"
import { eachUnit, World } from "../../src/cluster/World.ts"
import { Disk, type DiskCalls, nodeCalls } from "../../src/io/Disk.ts"
import { late, noDirectorySync, noLinks, refusing, stale } from "./harness/disks.ts"
import { folder, inJob, launch, SHORT } from "./harness/worlds.ts"

const program = Effect.gen(function*() {
  const world = yield* World
  const all = yield* world.allGather("ranks", z.int(), world.rank)
  const work = world.work("files", [3, 1, 2, 4, 5], z.int())
  yield* eachUnit(work, (unit) => Effect.succeed(unit * 10))
  const results = yield* work.results()
  yield* world.barrier("over")
  return { all, results, notes: world.notes() }
})

const job = (disks: ReadonlyArray<DiskCalls>, directory: string) =>
  Promise.all(disks.map((disk, rank) =>
    Effect.runPromise(inJob(program, { launch: launch(rank, disks.length), directory, rendezvous: "file" }, Layer.succeed(Disk, disk)))))

describe("a job that meets in files is done", () => {
  it.each([
    ["where names of others come late", () => late(250), []],
    ["where handles go stale", stale, []],
    ["where names cannot be made durable by themselves, which is noted", noDirectorySync, [expect.stringContaining("fsync of a directory")]],
    ["where there are no hard links", noLinks, []]
  ] as const)("%s", async (_, disk, notes) => {
    const directory = folder()
    const ended = await job([disk(), disk(), disk()], directory)
    expect(ended.map(({ all, results }) => [all, results])).toEqual([[[0, 1, 2], [0, 10, 20, 30, 40]], [[0, 1, 2], undefined], [[0, 1, 2], undefined]])
    for (const end of ended) expect(end.notes).toEqual(notes)
    expect(readdirSync(directory)).toEqual([])
  })

  it("where an earlier one of the same name was killed and left its files", async () => {
    const directory = folder()
    const folders = (): ReadonlyArray<string> => readdirSync(join(directory, ".megatron-mimo.run"))
    // Nobody leaves: what a SIGKILL of all leaves behind.
    const dead: DiskCalls = { ...nodeCalls, removeTree: async () => {}, remove: async (path) => (path.endsWith("session.json") ? undefined : nodeCalls.remove(path)), removeDirectory: async () => {} }
    await job([dead, nodeCalls], directory)
    expect(folders()).toHaveLength(2)
    const ended = await job([nodeCalls, nodeCalls], directory)
    expect(ended[0]!.results).toEqual([0, 10, 20, 30, 40])
    expect(readdirSync(directory)).toEqual([])
  })
})

describe("a board", () => {
  it("takes a document that is torn, changed or of another name for none", async () => {
    const directory = folder()
    const board = new Board(nodeCalls, directory)
    await board.put("a.json", { n: 1 })
    const path = join(directory, "a.json")
    const whole = readFileSync(path, "utf8")
    expect(await board.get("a.json")).toEqual({ value: { n: 1 } })
    for (const text of [whole.slice(0, -5), "", whole.replace("\"n\":1", "\"n\":2"), "[1]", "\u0000".repeat(whole.length)]) {
      writeFileSync(path, text)
      expect(await board.get("a.json")).toBeUndefined()
    }
    writeFileSync(join(directory, "b.json"), whole)
    expect(await board.get("b.json")).toBeUndefined()
    expect(await board.get("c.json")).toBeUndefined()
  })

  it("lets one of many claim a name", async () => {
    for (const disk of [nodeCalls, noLinks()]) {
      const directory = folder()
      const claims = await Promise.all(Array.from({ length: 16 }, (_, n) => new Board(disk, directory).claim("failed.json", n)))
      expect(claims.filter(Boolean)).toHaveLength(1)
      expect(await new Board(disk, directory).get("failed.json")).toEqual({ value: claims.indexOf(true) })
    }
  })

  it("tells of errors that are none of these", async () => {
    const broken: DiskCalls = { ...nodeCalls, stat: (path) => refusing(path, "stat", "EIO") }
    await expect(new Board(broken, folder()).get("a.json")).rejects.toMatchObject({ code: "io/EIO" })
    const ended = await Effect.runPromise(inJob(program, { launch: launch(0, 2), directory: join(folder(), "nowhere", "at", "all"), rendezvous: "file", limits: { ...SHORT, join: 500 } })).catch((error: unknown) => error)
    expect(ended).toMatchObject({ code: "io/ENOENT", exitCode: 7 })
  })
})
