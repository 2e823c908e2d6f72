/** The programmatic forms of inspect, diff, relabel, doctor and report: Effects and promises. */
import { Effect } from "effect"
import { rmSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { parse } from "yaml"
import {
  checkpoints, diffCheckpoints, Disk, examineCheckpoint, importCheckpoint, inspectCheckpoint, relabelCheckpoint, relabelPlan, reportCheckpoints
} from "../../src/index.ts"
import { fresh, sampleModel, workDirectory } from "../relabel/checkpoints.ts"

const work = workDirectory("api")
let hf: string
let megatron: string
beforeAll(async () => {
  hf = await sampleModel(work)
  megatron = fresh(work)
  await importCheckpoint({ hfModel: hf, components: ["language=tp=2", "images=tp=1"] }, megatron)
})

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))

describe("both forms say the same", () => {
  it("inspect", async () => {
    const request = { filter: ["*.mlp.*"], boxes: true, statistics: true }
    const found = await inspectCheckpoint(megatron, request)
    expect(found).toEqual(await run(checkpoints.inspect(megatron, request)))
    expect(found.tensors.length).toBeGreaterThan(0)
    expect(found.tensors.length).toBeLessThan(found.of)
    expect(found.tensors.every((t) => t.name.includes(".mlp.") && t.boxes!.length > 0 && t.statistics!.max! > t.statistics!.min!)).toBe(true)
  })

  it("diff", async () => {
    const found = await diffCheckpoints(hf, megatron)
    expect(found).toMatchObject({ equal: 104, total: 104, tensors: [] })
    expect(found).toEqual(await run(checkpoints.diff(hf, megatron)))
  })

  it("relabel, and its plan", async () => {
    const [there, back] = [fresh(work), fresh(work)]
    const plan = await relabelPlan(megatron, { to: ["standard"] })
    const report = await relabelCheckpoint(megatron, there, { to: ["standard"], link: true })
    expect(report).toMatchObject({ renamed: plan.renamed, tensors: plan.tensors, linked: plan.kept.length })
    await run(checkpoints.relabel(there, back, { to: ["mimo"], components: ["language=tp=2", "images=tp=1"] }))
    expect(await diffCheckpoints(megatron, back)).toMatchObject({ tensors: [] })
  })

  it("examine", async () => {
    expect((await examineCheckpoint(megatron)).sound).toBe(true)
    const broken = fresh(work)
    await relabelCheckpoint(megatron, broken, { to: ["standard"] })
    rmSync(join(broken, "latest_train_state.pt"))
    const { found, sound } = await examineCheckpoint(broken)
    expect(sound).toBe(false)
    expect(found[0]).toMatchObject({ severity: "error", command: expect.stringContaining("latest_train_state.pt") })
    expect(await run(checkpoints.examine(broken))).toMatchObject({ found })
  })

  it("report", async () => {
    const { card, html } = await reportCheckpoints([hf, megatron])
    expect(html).toContain("Every one of 104 source tensors is accounted for")
    expect(parse(card)).toMatchObject({ command: "report", coverage: { converted: 104 } })
    expect((await run(checkpoints.report([hf, megatron], { command: "audit" }))).card).toContain("command: audit")
  })
})

it("failures are the typed errors of the library", async () => {
  await expect(inspectCheckpoint(join(work, "nowhere"))).rejects.toMatchObject({ _tag: "InvalidFile" })
  await expect(relabelCheckpoint(megatron, fresh(work), { to: ["mimo"] })).rejects.toMatchObject({ _tag: "Unsupported" })
  await expect(relabelCheckpoint(megatron, fresh(work), { to: ["standard"], components: ["language=tp=x"] })).rejects.toMatchObject({ _tag: "UsageError" })
  await expect(inspectCheckpoint(hf, { signal: AbortSignal.abort() })).rejects.toBeDefined()
})
