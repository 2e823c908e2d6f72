/** The library's way to what the commands about training say: plain promises over a config.json. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { trainingFlops, trainingLayout, trainingMemory, trainingSetup } from "../../src/index.ts"
import { PUBLISHED } from "../cost/published.ts"

const work = mkdtempSync(join(tmpdir(), "training-"))
const hf = join(work, "hf")
beforeAll(() => {
  mkdirSync(hf)
  writeFileSync(join(hf, "config.json"), JSON.stringify(PUBLISHED["Qwen3.5-27B"]))
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

describe("training", () => {
  it("FLOPs and what the trainer would log", async () => {
    const report = await trainingFlops(hf, { images: ["1*768x768"], reference: true })
    expect(report).toMatchObject({ form: "mimo", visualTokens: 576, trainer: { logged: 643339930042368 + 7818914562048 } })
  })

  it("memory, and what the trainers print of a standard layout", async () => {
    const report = await trainingMemory(hf, { standard: true, tp: 4, pp: 2, reference: true, microBatch: 1 })
    expect(report).toMatchObject({ form: "standard", recompute: "none", fits: false })
    expect(report.trainers!.bridge.states).toBeGreaterThan(2 ** 30)
    expect(report.notes.join()).toContain("no images")
  })

  it("a layout, and a given one that a rule refuses", async () => {
    expect((await trainingLayout(hf, { nodes: 2 })).best.length).toBeGreaterThan(0)
    expect(await trainingLayout(hf, { nodes: 2, components: ["language=tp=4,cp=2", "images=tp=1"] })).toMatchObject({ given: { broken: [expect.objectContaining({ rule: 25 })] } })
  })

  it.each([
    [4, ["language=tp=4,dp=4,ep=3", "images=tp=1"]], [6, ["language=tp=4,pp=2,dp=2", "images=tp=1,rank_offset=17"]], [7, ["language=tp=4", "images=dp=2,ep=2"]],
    [8, ["language=tp=3", "images=tp=1"]], [9, ["language=tp=4,dp=2", "images=dp=3"]], [10, ["language=tp=4"]], [25, ["language=tp=4,cp=2", "images=tp=1"]]
  ] as const)("rule %i by number and with the trainer's words; a set-up refuses it", async (rule, components) => {
    const { given } = await trainingLayout(hf, { nodes: 3, components })
    const [first] = given!.broken
    expect(first!.rule).toBe(rule)
    expect(first!.trainer.length).toBeGreaterThan(10)
    await expect(trainingSetup(hf, join(work, "never"), { nodes: 3, components })).rejects.toMatchObject({ code: "usage/layout", message: expect.stringContaining(`rule ${rule}`) })
    // What counts memory has nothing to count.
    if (rule <= 10) await expect(trainingMemory(hf, { components })).rejects.toMatchObject({ code: "usage/layout" })
  })

  it("GPUs of a file, and one that is in none", async () => {
    const gpuFile = join(work, "gpus.json")
    writeFileSync(gpuFile, JSON.stringify({ mine: { usableGiB: 200, memoryBandwidth: 4e12, bf16: 1e15, nvlink: 4e11, nvlinkDomain: 8, fabric: 5e10 } }))
    expect((await trainingLayout(hf, { gpu: "mine", gpuFile })).usable).toBe(200 * 2 ** 30)
    await expect(trainingLayout(hf, { gpu: "mine" })).rejects.toThrow("there is no GPU mine")
    writeFileSync(gpuFile, JSON.stringify({ mine: { usableGiB: -1 } }))
    await expect(trainingLayout(hf, { gpu: "mine", gpuFile })).rejects.toMatchObject({ _tag: "InvalidFile" })
  })

  it("a folder, and numbers that are none", async () => {
    expect((await trainingSetup(hf, join(work, "run"), { nodes: 3 })).files.map((f) => f.name)).toContain("README.md")
    await expect(trainingSetup(hf, join(work, "never"), { nodes: 0 })).rejects.toThrow("the number of nodes")
    await expect(trainingSetup(hf, join(work, "never"), { nodes: 3, set: ["train.num_epochs=2"] })).rejects.toMatchObject({ code: "usage/training" })
    await expect(trainingSetup(hf, join(work, "never"), { nodes: 3, name: "../x" })).rejects.toThrow("cannot be named")
  })
})
