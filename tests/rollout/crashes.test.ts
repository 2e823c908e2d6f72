/**
 * A publisher and a receiver that die at any call, or with the power of their machine: nobody sees half a version, and whoever comes next
 * brings it to its end.
 */
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import { Effect } from "effect"
import { dirname, join } from "node:path"
import { beforeAll, expect, it } from "vitest"
import { publishVersion, pullVersion } from "../../src/api/rollout.ts"
import type { BridgeError } from "../../src/errors.ts"
import { toPromise } from "../../src/io/attempt.ts"
import { Disk, type DiskCalls } from "../../src/io/Disk.ts"
import { makeFolders, writeSmall } from "../../src/io/small.ts"
import { faultyDisk } from "../torture/FaultyDisk.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"
import { digests, randomNumbers, writeModel, writeNext } from "./models.ts"
import { workFolder } from "./workFolder.ts"

const work = workFolder("crashes")
const state = (n: number): string => join(work, `state${n}`)
const run = <A>(effect: Effect.Effect<A, BridgeError, Disk>, fs: MemoryFileSystem | DiskCalls): Promise<A> =>
  toPromise(Effect.provideService(effect, Disk, fs instanceof MemoryFileSystem ? fs.calls : fs))

/** As {@link digests}. */
const sums = (fs: MemoryFileSystem, directory: string): Record<string, string> =>
  Object.fromEntries([...fs.files(directory)].filter(([name]) => name.endsWith(".safetensors")).sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, bytes]) => [name, createHash("sha256").update(bytes).digest("hex")]))

/** The states at /state1 and so on, and their versions: whole, xor, overwrite. */
let world: MemoryFileSystem
const [ROOT, LOCAL] = ["/versions", "/local"]
const expected: Array<Record<string, string>> = []

beforeAll(async () => {
  writeModel(state(1), 1)
  writeNext(state(1), state(2), 0.05, 2)
  writeNext(state(2), state(3), 0.05, 3)
  world = new MemoryFileSystem()
  for (const n of [1, 2, 3]) {
    expected[n] = digests(state(n))
    for (const name of readdirSync(state(n))) {
      const path = join(`/state${n}`, name)
      await makeFolders(world.calls, dirname(path))
      await writeSmall(world.calls, path, readFileSync(join(state(n), name)))
    }
  }
  for (const [i, encoding] of (["xor", "xor", "overwrite"] as const).entries()) await run(publishVersion(`/state${i + 1}`, ROOT, { encoding }), world)
  world.settle()
})

/** A disk of a process that dies at its call number `dies`, which is made in part if it is a write; nothing is heard of it afterwards. */
const dyingDisk = (fs: MemoryFileSystem, dies: number) => {
  let wasReached = false
  const disk = faultyDisk(fs.calls, ({ index, operation }) => {
    if (index < dies) return undefined
    const first = !wasReached
    wasReached = true
    return first && operation === "write" ? { limit: 7 } : { errno: "EIO" }
  })
  return { disk, reached: () => wasReached }
}

const MOST_CALLS = 2000
/** All calls take minutes: `npm run rollout:faults`. Otherwise one of so many, and the last ones. */
const stride = (usual: number): number => (process.env["EVERY_CALL"] ? 1 : usual)

/** Run `each` until it dies at no call any more; look at what is left each time, and at what a loss of power would have left. */
const everyCall = async (before: MemoryFileSystem, each: (disk: DiskCalls) => Promise<unknown>, look: (left: MemoryFileSystem) => Promise<void>, every: number): Promise<number> => {
  const random = randomNumbers(7)
  for (let call = 0; call < MOST_CALLS; call += stride(every)) {
    const fs = before.clone()
    const { disk, reached } = dyingDisk(fs, call)
    await each(disk).catch(() => {})
    const image = fs.image(random() < 0.5 ? "ordered" : "unordered", random)
    await look(fs)
    await look(image)
    if (!reached()) return call
  }
  throw new Error("it never ends")
}

it.each([2, 3])("a receiver that dies while version %s is applied is gone on with", async (version) => {
  const before = world.clone()
  await run(pullVersion(ROOT, LOCAL, { version: version - 1 }), before)
  before.settle()
  let rebuilt = 0
  const calls = await everyCall(before, (disk) => run(pullVersion(ROOT, LOCAL, { version }), disk), async (fs) => {
    const said = JSON.parse(Buffer.from(fs.files(LOCAL).get(".weight_sync/state.json")!).toString()) as { version: string; applying?: string }
    // What is half one version and half the other says so.
    if (said.applying === undefined) expect(sums(fs, LOCAL)).toEqual(expected[Number(said.version)])
    rebuilt += (await run(pullVersion(ROOT, LOCAL, { version }), fs)).rebuilt
    expect(sums(fs, LOCAL)).toEqual(expected[version])
  }, 7)
  expect(calls).toBeGreaterThan(40)
  // Of an overwrite few places are written at all.
  if (version === 2) expect(rebuilt).toBeGreaterThan(0)
})

it("a receiver that dies while it copies a version leaves what was there", async () => {
  const before = world.clone()
  await run(pullVersion(ROOT, LOCAL, { version: 3 }), before)
  before.settle()
  await everyCall(before, (disk) => run(pullVersion(ROOT, LOCAL, { version: 1 }), disk), async (fs) => {
    await run(pullVersion(ROOT, LOCAL, { version: 1 }), fs)
    expect(sums(fs, LOCAL)).toEqual(expected[1])
  }, 61)
})

it("a publisher that dies leaves no version, or a whole one", async () => {
  const before = world.clone()
  await before.calls.removeTree(join(ROOT, "weight_v000003"))
  await before.calls.removeTree(join(ROOT, "weight_v000002"))
  before.settle()
  const shown = async (fs: MemoryFileSystem) => (await fs.calls.list(ROOT)).filter((name) => !name.startsWith("."))
  const publish = publishVersion("/state2", ROOT)
  await everyCall(before, (disk) => run(publish, disk), async (fs) => {
    if ((await shown(fs)).length === 1) await run(publish, fs)
    expect(await shown(fs)).toEqual(["weight_v000001", "weight_v000002"])
    await run(pullVersion(ROOT, "/reader"), fs)
    expect(sums(fs, "/reader")).toEqual(expected[2])
  }, 31)
})

it("what a receiver that knows nothing of us has left half done is found, and not made worse", async () => {
  const fs = world.clone()
  await run(pullVersion(ROOT, LOCAL, { version: 1 }), fs)
  const file = "model-00001-of-00002.safetensors"
  const next = fs.files("/state2").get(file)!
  fs.edit(join(LOCAL, file), (own) => Buffer.concat([next.subarray(0, next.length / 2), own.subarray(next.length / 2)]))
  fs.edit(join(LOCAL, ".weight_sync/state.json"), () => Buffer.from('{"version": "000001"}'))
  const before = sums(fs, LOCAL)
  await expect(run(pullVersion(ROOT, LOCAL, { version: 2 }), fs)).rejects.toMatchObject({ code: "rollout/wrong-base" })
  expect(sums(fs, LOCAL)).toEqual(before)
  expect(await run(pullVersion(ROOT, LOCAL, { version: 2, fresh: true }), fs)).toMatchObject({ seeded: 1, applied: [2] })
  expect(sums(fs, LOCAL)).toEqual(expected[2])
})
