/** Resharding that was killed goes on where it was, in another process, and ends in the bytes of an undisturbed run. */
import { Effect, Layer } from "effect"
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { reshard, type ReshardRequest } from "../../src/api/reshard.ts"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { faultyDisk } from "../torture/FaultyDisk.ts"
import { bundled } from "../bundled.ts"
import { CHILD, runScript } from "../torture/killWalk.ts"
import { STATES, writeRandomModel } from "./randomModel.ts"
import { files, iterationIn } from "./stored.ts"

const LAYOUT = { tp: 2, pp: 2 }
/** The blocks that these come to are the smallest. */
const SMALL = ["--concurrency", "16", "--max-memory", "8MB", "--quiet"]

const work = mkdtempSync(join(tmpdir(), "resumed-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))
const source = join(work, "source")
let expected: Record<string, string>
/** Writes to data files of an undisturbed run. */
let all: number

const go = (target: string, request: ReshardRequest, disk = faultyDisk(nodeCalls, () => undefined)) =>
  Effect.runPromise(reshard(source, target, { maxMemory: 1, ...request }).pipe(Effect.provide(Layer.succeed(Disk, disk)))).then((report) => ({ report, disk }))

const writes = ({ made }: ReturnType<typeof faultyDisk>): number => made.filter(({ operation, path }) => operation === "write" && path.endsWith(".distcp")).length

/** A process that is killed in the middle of a write, `calls` calls after its first to a data file. What it leaves is beside the target. */
const killed = async (name: string, calls: number): Promise<string> => {
  const target = join(work, name)
  const { signal, stderr } = await runScript(await bundled(CHILD), [`payload+${calls}`, "half", "reshard", source, target, "--tp", "2", "--pp", "2", ...SMALL])
  expect(signal, stderr).toBe("SIGKILL")
  expect(existsSync(target)).toBe(false)
  return target
}

beforeAll(async () => {
  writeRandomModel(source, { layers: 8, hidden: 64, heads: 16, ffn: 96, vocabulary: 300, experts: undefined, gated: true, tied: false, indexed: false, mimo: false, states: STATES[0]! }, 5)
  all = writes((await go(join(work, "undisturbed"), LAYOUT)).disk)
  expected = files(iterationIn(join(work, "undisturbed")))
})

describe("--resume of a reshard that was killed in the middle of a write", () => {
  it("writes only what is missing", async () => {
    const target = await killed("late", 60)
    const { disk, report } = await go(target, { ...LAYOUT, resume: true })
    expect(report.notes.join("\n")).toMatch(/resumed: .*that an interrupted run .*had written were checked/)
    expect(files(iterationIn(target))).toEqual(expected)
    expect(writes(disk)).toBeLessThan(all)
    expect(readdirSync(work).filter((name) => name.includes("late"))).toEqual(["late"])
  })

  it("is refused for another layout, and does not trust what it finds", async () => {
    const target = await killed("damaged", 60)
    await expect(go(target, { tp: 4, resume: true })).rejects.toMatchObject({ code: "output/other-job" })
    const folder = join(work, ".damaged.partial", "data", "iter_0000007")
    const [name] = readdirSync(folder).filter((file) => file.endsWith(".distcp") && statSync(join(folder, file)).size > 0)
    truncateSync(join(folder, name!), 1000)
    await go(target, { ...LAYOUT, resume: true })
    expect(files(iterationIn(target))).toEqual(expected)
  })
})
