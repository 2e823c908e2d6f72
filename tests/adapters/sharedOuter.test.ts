/** Adapters of experts that share a matrix (`experts_shared_outer_loras`): once, as SGLang takes them, and repeated, as `peft` and vLLM do. */
import { Effect } from "effect"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { openBase } from "../../src/adapters/BaseModel.ts"
import { exportAdapter, importAdapter, mergeAdapters } from "../../src/api/adapters.ts"
import { examine, inspect } from "../../src/api/checkpoints.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import type { Disk } from "../../src/io/Disk.ts"
import { quickDisk } from "../hostile/run.ts"
import { brokenRules } from "./engineRules.ts"
import { filesIn } from "./filesIn.ts"
import { parseHeader } from "./header.ts"
import { groupsOf, writeRandomAdapter } from "./randomAdapter.ts"

const work = mkdtempSync(join(tmpdir(), "shared-outer-"))
afterAll(() => rmSync(work, { recursive: true }))
const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, quickDisk))
const [hf, once, megatron, repeated] = ["hf", "once", "megatron", "repeated"].map((name) => join(work, name)) as [string, string, string, string]
const tensorsOf = (directory: string) => new Map(parseHeader(readFileSync(join(directory, "adapter_model.safetensors"))).map((tensor) => [tensor.name, tensor]))
const EXPERTS = "base_model.model.model.layers.1.mlp.experts"

beforeAll(async () => {
  await run(writeSample(families, samples["qwen3-moe"]!.tiny, hf, { overwrite: true }))
  const groups = groupsOf((await run(openBase(families, hf))).as("standard").conversion.parameters)
  writeRandomAdapter(once, groups, () => "last", { seed: 3, rank: 2, sharedInput: true, sharedOuter: true })
  await run(importAdapter(hf, once, megatron, { tp: 2, ep: 2 }))
  await run(exportAdapter(hf, megatron, repeated, { sharedOuter: "repeat" }))
})

it("the trainer's experts share A of their first layer and B of their second", async () => {
  const { tensors } = await run(inspect(megatron))
  const shape = (end: string) => tensors.find(({ name }) => name.endsWith(`experts.experts.${end}.weight`))!.shape
  const experts = shape("linear_fc1.adapter.linear_out").at(-3)!
  expect(experts).toBeGreaterThan(1)
  expect(shape("linear_fc1.adapter.linear_in")).toHaveLength(shape("linear_fc1.adapter.linear_out").length - 1)
  expect(shape("linear_fc2.adapter.linear_out")).toHaveLength(shape("linear_fc2.adapter.linear_in").length - 1)
  expect(readFileSync(join(megatron, "iter_0000000/run_config.yaml"), "utf8")).toContain("experts_shared_outer_loras: true")
})

it("comes back byte for byte", async () => {
  const exported = join(work, "exported")
  await run(exportAdapter(hf, megatron, exported))
  for (const [file, bytes] of filesIn(once)) expect(filesIn(exported).get(file)!.equals(bytes), file).toBe(true)
  expect(tensorsOf(exported).get(`${EXPERTS}.gate_proj.lora_A.weight`)!.shape[0]).toBe(1)
  expect(tensorsOf(exported).get(`${EXPERTS}.down_proj.lora_B.weight`)!.shape[0]).toBe(1)
})

it("repeated for every expert it is what peft and vLLM read, and merges to the same bits", async () => {
  expect(brokenRules(repeated, new Set((await run(openBase(families, hf))).stored!.tensors.keys()))).toEqual([])
  const [shared, own] = [tensorsOf(once), tensorsOf(repeated)]
  expect(own.get(`${EXPERTS}.1.up_proj.lora_A.weight`)!.bytes).toEqual(shared.get(`${EXPERTS}.up_proj.lora_A.weight`)!.bytes)
  const merged = await Promise.all([once, repeated, megatron].map(async (path) => {
    await run(mergeAdapters(hf, `${path}-merged`, { adapters: [{ path, weight: 1 }] }))
    return filesIn(`${path}-merged`)
  }))
  for (const [file, bytes] of merged[0]!) for (const other of merged.slice(1)) expect(other.get(file)!.equals(bytes), file).toBe(true)
})

it("inspect finds both halves, doctor says who reads it", async () => {
  expect((await run(inspect(once))).adapter).toMatchObject({ sharedOuter: true, unpaired: [] })
  const { found } = await run(examine(once, { hfModel: hf }))
  expect(found.filter(({ severity }) => severity === "error")).toEqual([])
  expect(found.map(({ text }) => text).join(" ")).toContain("SGLang takes that")
})

it("is refused where no matrix is shared", async () => {
  const plain = join(work, "plain")
  await run(importAdapter(hf, repeated, plain))
  expect((await run(Effect.flip(exportAdapter(hf, plain, join(work, "none"), { sharedOuter: "once" })))).message).toContain("--shared-outer once would do nothing")
})
