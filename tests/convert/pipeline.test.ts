/** Uneven pipelines: which rank's file gets which layer, and what the run configuration tells the trainer. */
import { Effect } from "effect"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { openCheckpoint } from "../../src/space/Checkpoint.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { AutoBridge, Disk, MegatronMimoBridge } from "../../src/index.ts"
import type { PipelineSplit } from "../../src/parallel/ModuleParallelism.ts"
import { parseRunConfig, sectionAt } from "../../src/runconfig/RunConfigFile.ts"
import { tinyModel } from "./tinyModel.ts"

const work = mkdtempSync(join(tmpdir(), "pipeline-"))
const run = <A, E>(effect: Effect.Effect<A, E, Disk>) => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))
const [hf, vision] = [join(work, "hf"), join(work, "vision")]
let number = 0
const fresh = () => join(work, `out-${number++}`)

beforeAll(async () => {
  await tinyModel(hf, { layers: 7 })
  await run(writeSample(families, samples["qwen3.5-vl"]!.tiny, vision, { overwrite: false }))
})
afterAll(() => rmSync(work, { recursive: true }))

/** The ranks that wrote the chunks of every key, in the order of the layers. */
const ranksOf = async (megatron: string) => {
  const { tensors } = await run(openCheckpoint(megatron))
  return new Map([...tensors].map(([key, { place: { stored: { chunks } } }]) => [key, [...chunks].sort((a, b) => a.offsets[0]! - b.offsets[0]!).map((chunk) => Number(/^__(\d+)_0/.exec(chunk.file)?.[1]))]))
}
const modelOf = (megatron: string, ...path: ReadonlyArray<string>) =>
  sectionAt(parseRunConfig(readFileSync(join(megatron, "iter_0000000", "run_config.yaml"))), "model", ...path)

describe("a standard model", () => {
  it.each<readonly [pp: number, pipeline: PipelineSplit, ranks: ReadonlyArray<number>, fields: Readonly<Record<string, unknown>>]>([
    [3, { firstStageLayers: 1 }, [0, 1, 1, 1, 2, 2, 2], { num_layers_in_first_pipeline_stage: 1 }],
    [2, { lastStageLayers: 2 }, [0, 0, 0, 0, 0, 1, 1], { num_layers_in_last_pipeline_stage: 2 }],
    [3, { embeddingAsStage: true, lossAsStage: true }, [0, 0, 1, 1, 1, 2, 2], { account_for_embedding_in_pipeline_split: true, account_for_loss_in_pipeline_split: true }],
    [2, { layout: "Et|tt|tt|ttL" }, [0, 1, 1, 0, 0, 1, 1], { pipeline_model_parallel_layout: "Et|tt|tt|ttL" }]
  ])("pp=%i, %o", async (pp, pipeline, ranks, fields) => {
    const bridge = await run(AutoBridge.fromHfPretrained(hf, { pp, pipeline }))
    const [megatron, exported] = [fresh(), fresh()]
    const report = await run(bridge.importCheckpoint(megatron))
    expect(report.components[0]!.layout).toMatchObject({ pp, pipeline })
    const found = await ranksOf(megatron)
    expect(found.get("decoder.layers.self_attention.linear_proj.weight")).toEqual(ranks)
    expect([found.get("embedding.word_embeddings.weight"), found.get("decoder.final_layernorm.weight"), found.get("output_layer.weight")]).toEqual([[0], [pp - 1], [pp - 1]])
    expect(modelOf(megatron)).toMatchObject({ pipeline_model_parallel_size: pp, ...fields })
    await run(bridge.exportCheckpoint(megatron, exported))
    expect(readFileSync(join(exported, "model.safetensors")).equals(readFileSync(join(hf, "model.safetensors")))).toBe(true)
  })

  it("has its tower on the first stage", async () => {
    const megatron = fresh()
    await run(AutoBridge.fromHfPretrained(vision, { pp: 2 }).pipe(Effect.flatMap((bridge) => bridge.importCheckpoint(megatron))))
    const ranks = await ranksOf(megatron)
    const tower = [...ranks].filter(([key]) => key.startsWith("vision_model."))
    expect(tower.length).toBeGreaterThan(5)
    expect(new Set(tower.flatMap(([, writers]) => writers))).toEqual(new Set([0]))
    expect(new Set([...ranks].flatMap(([, writers]) => writers))).toEqual(new Set([0, 1]))
  })
})

describe("a MIMO model", () => {
  const planned = (...components: ReadonlyArray<string>) => run(MegatronMimoBridge.fromHfPretrained(vision, { components }))

  it("tells the standard provider, as a component has no such fields", async () => {
    const bridge = await planned("language=pp=2,first_stage_layers=1", "images=tp=1")
    const megatron = fresh()
    await run(bridge.importCheckpoint(megatron))
    expect(modelOf(megatron, "standard_provider")).toMatchObject({ num_layers_in_first_pipeline_stage: 1 })
    expect(modelOf(megatron, "megatron_mimo_parallelism_config", "module_parallelisms", "language")).not.toHaveProperty("num_layers_in_first_pipeline_stage")
    const groups = await run(bridge.processGroups())
    expect(groups.get("language")!.pp).toEqual([[0, 1]])
  })

  it("refuses an uneven pipeline of a tower, and says that a layout has no trainer yet", async () => {
    await expect(planned("language=tp=1", "images=pp=2,first_stage_layers=1").then((bridge) => run(bridge.conversionPlan()))).rejects.toThrow("rule 22")
    const { notes } = await planned("language=pp=2,layout=\"Ett|ttL\"", "images=tp=1").then((bridge) => run(bridge.conversionPlan()))
    expect(notes).toContainEqual(expect.stringContaining("no released trainer builds this model yet"))
  })
})
