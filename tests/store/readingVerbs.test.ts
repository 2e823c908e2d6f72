/** Whatever only reads asks the store in use, and no disk: here a model and its checkpoints lie in memory. */
import { Effect, Layer } from "effect"
import { beforeAll, describe, expect, it } from "vitest"
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { join } from "node:path"
import { checkpoints, Disk, importCheckpoint, MegatronMimoBridge } from "../../src/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { type DiskCalls, nodeCalls } from "../../src/io/Disk.ts"
import { OtherStore } from "../../src/remote/storeInUse.ts"
import { verifyHf, verifyMegatron } from "../../src/verify/verify.ts"
import { memoryDirectory } from "../families/verbs.ts"
import { toys } from "../families/toys.ts"
import { memoryStore } from "./memoryStore.ts"

const files = new Map<string, Uint8Array>()
const store = memoryStore(files)

/** No call of a disk succeeds. */
const noDisk = new Proxy({} as DiskCalls, {
  get: (_, call) => () => { throw new Error(`the disk was asked to ${String(call)}`) }
})

const reading = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> =>
  Effect.runPromise(effect.pipe(Effect.provideService(OtherStore, store), Effect.provide(Layer.succeed(Disk, noDisk))))

beforeAll(async () => {
  const work = memoryDirectory("stored")
  const toy = toys.find((t) => t.name === "internvl-qwen2")!
  const [hf, standard, mimo] = ["hf", "standard", "mimo"].map((name) => join(work, name)) as [string, string, string]
  await Effect.runPromise(
    writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config: toy.config, configText: toy.configText, tensors: [...toy.tensors] } }, hf)
      .pipe(Effect.provide(Layer.succeed(Disk, nodeCalls)))
  )
  await importCheckpoint({ hfModel: hf, standard: true }, standard)
  await importCheckpoint({ hfModel: hf, components: ["language=tp=1", "images=tp=1"] }, mimo)
  for (const name of readdirSync(work, { recursive: true, encoding: "utf8" })) {
    if (statSync(join(work, name)).isFile()) files.set(join("/models", name), new Uint8Array(readFileSync(join(work, name))))
  }
  rmSync(work, { recursive: true })
})

const [hf, standard, mimo] = ["/models/hf", "/models/standard", "/models/mimo"] as const

describe("over a store in memory", () => {
  it("inspect, with statistics of what it reads", async () => {
    const model = await reading(checkpoints.inspect(hf, { statistics: true }))
    const checkpoint = await reading(checkpoints.inspect(mimo, { statistics: true }))
    expect(model.tensors.every((t) => t.statistics !== undefined)).toBe(true)
    expect(checkpoint.components.map((c) => c.name).sort()).toEqual(["images", "language"])
  })

  it("diff, of two forms and of two formats", async () => {
    for (const [a, b] of [[standard, mimo], [hf, standard], [mimo, hf]] as const) {
      const { equal, total } = await reading(checkpoints.diff(a, b))
      expect([equal, total], `${a} ${b}`).toEqual([total, total])
      expect(total).toBeGreaterThan(20)
    }
  })

  it("verify, through the mapping and between equals", async () => {
    const bridge = await reading(MegatronMimoBridge.fromHfPretrained(hf))
    const mapped = await reading(bridge.verify(mimo))
    expect(mapped.equal).toBe(mapped.total)
    const plain = await reading(verifyHf(hf, hf, {}))
    expect(plain.equal).toBe(plain.total)
    const same = await reading(verifyMegatron(standard, standard, {}))
    expect(same.equal).toBe(same.total)
  })

  it("doctor", async () => {
    for (const path of [hf, standard, mimo]) {
      const { found, sound } = await reading(checkpoints.examine(path))
      expect([sound, found.filter((d) => d.severity === "error")], path).toEqual([true, []])
    }
  })

  it("the plan of an import", async () => {
    const bridge = await reading(MegatronMimoBridge.fromHfPretrained(hf))
    const plan = await reading(bridge.conversionPlan())
    expect(plan.components.map((c) => c.name).sort()).toEqual(["images", "language"])
    expect(plan.leftBehind).toEqual([])
  })

  it("damage is found as on a disk", async () => {
    const [path] = [...files.keys()].filter((name) => name.startsWith(standard) && name.endsWith(".distcp"))
    const bytes = files.get(path!)!
    files.set(path!, Uint8Array.from(bytes, (b, i) => (i === bytes.length >> 1 ? b ^ 1 : b)))
    await expect(reading(checkpoints.inspect(standard, { statistics: true }))).rejects.toMatchObject({ code: "checkpoint/crc" })
    files.set(path!, bytes)
  })
})
