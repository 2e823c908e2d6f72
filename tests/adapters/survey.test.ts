/** What is said of adapters: by inspect, on the report page, and by doctor, which knows their traps. */
import { Effect } from "effect"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { diff, examine, inspect, report } from "../../src/api/checkpoints.ts"
import type { AdapterFacts, AdapterModule } from "../../src/adapters/survey/AdapterFacts.ts"
import { adapterTraps } from "../../src/doctor/adapters.ts"
import { importAdapter } from "../../src/api/adapters.ts"
import { verify } from "../../src/api/verification.ts"
import { inspectionText } from "../../src/cli/inspectText.ts"
import type { Disk } from "../../src/io/Disk.ts"
import { encodeHeader } from "../../src/safetensors/encodeHeader.ts"
import { quickDisk } from "../hostile/run.ts"
import { parseHeader } from "./header.ts"

const FACTS = new URL("../fixtures/adapters/", import.meta.url).pathname
const BASE = join(FACTS, "bridge-lora-tp1/base-hf")
const PEFT = join(FACTS, "bridge-lora-tp1/peft")
const work = mkdtempSync(join(tmpdir(), "survey-"))
afterAll(() => rmSync(work, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, quickDisk))

type Tensor = ReturnType<typeof parseHeader>[number]

/** A copy of the adapter with another configuration, or other tensors. */
const harmed = (name: string, config: (json: Record<string, unknown>) => Record<string, unknown>, tensors: (all: ReadonlyArray<Tensor>) => ReadonlyArray<Tensor> = (all) => all): string => {
  const directory = join(work, name)
  cpSync(PEFT, directory, { recursive: true })
  const path = join(directory, "adapter_config.json")
  writeFileSync(path, JSON.stringify(config(JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>)))
  const weights = join(directory, "adapter_model.safetensors")
  const kept = tensors(parseHeader(readFileSync(weights)))
  writeFileSync(weights, Buffer.concat([encodeHeader(kept as never, new Map([["format", "pt"]])).headerBytes, ...kept.map(({ bytes }) => bytes)]))
  return directory
}

const same = (json: Record<string, unknown>) => json
const doctor = async (path: string, hfModel?: string): Promise<ReadonlyArray<string>> =>
  (await run(examine(path, hfModel === undefined ? {} : { hfModel }))).found.map(({ code, severity }) => `${severity} ${code}`)

it("inspect says rank, alpha, targets and, where data is read, how large each change is", async () => {
  const plain = await run(inspect(PEFT))
  expect(plain.adapter).toMatchObject({ kind: "peft", form: "lora", rank: 2, alpha: 6, parameters: 880, unpaired: [] })
  expect(plain.adapter!.modules).toHaveLength(14)
  expect(plain.adapter!.modules[0]).toEqual({ module: "model.layers.0.mlp.down_proj", stack: "model.layers", layer: 0, dtype: "BF16", rank: 2, inputs: 20, outputs: 16, scale: 3, magnitude: false })
  const text = [...inspectionText(await run(inspect(PEFT, { statistics: true })), { list: false, summary: true })].join("")
  expect(text).toContain("LoRA, rank 2, alpha 6, dropout 0, 880 parameters")
  expect(text).toMatch(/model\.layers\.\*\.down_proj +2 +2 +20 → 16 +3 +[\d.]+ … [\d.]+/)
})

it("a checkpoint says the same of the same adapter, scale and all", async () => {
  const megatron = join(work, "megatron")
  await run(importAdapter(BASE, PEFT, megatron, { tp: 2 }))
  const [peft, ours] = [await run(inspect(PEFT, { statistics: true })), await run(inspect(megatron, { statistics: true }))]
  const total = ({ adapter }: typeof peft) => adapter!.modules.reduce((sum, { norm }) => sum + norm! ** 2, 0)
  expect(total(ours) / total(peft)).toBeCloseTo(1, 4)
  expect(ours.adapter).toMatchObject({ kind: "megatron", form: "lora", rank: 2, alpha: 6, targetModules: ["linear_fc1", "linear_fc2", "linear_proj", "linear_qkv"] })
  const found = await doctor(megatron, BASE)
  expect(found.filter((d) => d.startsWith("error"))).toEqual([])
  expect(found).toContain("warning adapter-only")
})

it("the report draws the change of every layer", async () => {
  const { html } = await run(report([PEFT]))
  expect(html).toContain("<h3>Adapter</h3>")
  expect(html).toMatch(/aria-label="model\.layers\.1\.self_attn\.q_proj: ‖ΔW‖ [\d.]+"/)
  expect(html.match(/aria-label="changes of \w+ by layer of model\.layers"/g)).toHaveLength(7)
})

describe("verify and diff", () => {
  it("hold an adapter of peft against adapters of Megatron, scales included", async () => {
    const megatron = join(work, "verified")
    await run(importAdapter(BASE, PEFT, megatron, { tp: 2 }))
    expect(await run(verify(PEFT, megatron, { hfModel: BASE }))).toMatchObject({ equal: 28, total: 28 })
    expect(await run(diff(megatron, PEFT, { hfModel: BASE }))).toMatchObject({ equal: 28, total: 28, notes: [] })
    const scaled = harmed("scaled", (json) => ({ ...json, lora_alpha: 12 }))
    const report = await run(verify(scaled, megatron, { hfModel: BASE }))
    expect(report).toMatchObject({ equal: 28, total: 42 })
    expect(report.tensors.find(({ status }) => status !== "equal")).toMatchObject({ status: "different", detail: "B·A is multiplied by 3 and by 6" })
    expect((await run(diff(scaled, megatron, { hfModel: BASE }))).notes[0]).toContain("14 modules are scaled otherwise")
    const flipped = harmed("flipped", same, (all) => all.map((t, i) => (i === 3 ? { ...t, bytes: Buffer.from(t.bytes.map((byte, k) => (k === 0 ? byte ^ 1 : byte))) } : t)))
    expect(await run(verify(flipped, megatron, { hfModel: BASE }))).toMatchObject({ equal: 27, total: 28 })
  })

  it("two adapters with equal matrices are different where their scales are", async () => {
    const scaled = harmed("rs", (json) => ({ ...json, use_rslora: true }))
    expect(await run(verify(PEFT, PEFT))).toMatchObject({ equal: 28, total: 28 })
    expect(await run(verify(PEFT, scaled))).toMatchObject({ equal: 28, total: 42 })
    expect((await run(diff(PEFT, scaled))).notes[0]).toContain("scaled otherwise")
  })

  it("ask for the base model by its flag", async () => {
    const error = await run(Effect.flip(verify(PEFT, join(FACTS, "bridge-lora-tp1/checkpoint/iter_0000001"))))
    expect(`${error.message} ${error.hint}`).toContain("--hf-model")
  })
})

describe("doctor", () => {
  it("finds nothing wrong with a sound adapter of this base", async () => {
    expect(await doctor(PEFT, BASE)).toEqual(["warning peft-adapter", "ok adapter-base"])
  })

  it("knows an adapter that changes nothing", async () => {
    const zero = (all: ReadonlyArray<Tensor>) => all.map((t) => (t.name.includes("lora_B") ? { ...t, bytes: Buffer.alloc(t.bytes.byteLength) } : t))
    expect(await doctor(harmed("zero", same, zero))).toContain("warning adapter-zero")
  })

  it("knows a rank that is not the configuration's", async () => {
    expect(await doctor(harmed("rank", (json) => ({ ...json, r: 4 })))).toContain("error adapter-rank")
  })

  it("knows matrices that no target names, and targets without matrices", async () => {
    expect(await doctor(harmed("untargeted", (json) => ({ ...json, target_modules: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj"] })))).toContain("error adapter-untargeted")
    expect(await doctor(harmed("missing", same, (all) => all.filter(({ name }) => !name.includes("down_proj"))))).toContain("warning adapter-missing")
    expect(await doctor(harmed("holes", same, (all) => all.filter(({ name }) => !name.includes("layers.0.mlp.down_proj"))))).toContain("warning adapter-missing")
    expect(await doctor(harmed("more", (json) => ({ ...json, target_modules: ["q_proj"] }), (all) => all.filter(({ name }) => name.includes("layers.0.self_attn.q_proj"))), BASE)).toContain("warning adapter-missing")
  })

  it("knows DoRA without magnitudes, half an adapter, and what engines refuse", async () => {
    const dora = await doctor(harmed("dora", (json) => ({ ...json, use_dora: true })))
    expect(dora).toEqual(expect.arrayContaining(["error adapter-dora", "warning adapter-engine"]))
    expect(await doctor(harmed("half", same, (all) => all.filter(({ name }) => !/layers\.1\.mlp\.up_proj\.lora_A/.test(name))))).toContain("error adapter-half")
    expect(await doctor(harmed("scales", (json) => ({ ...json, alpha_pattern: { q_proj: 3 } })))).toContain("warning adapter-engine")
  })

  it("knows another base model, and a configuration that is not there", async () => {
    const odd = (all: ReadonlyArray<Tensor>) => all.map((t) => ({ ...t, name: t.name.replace("layers.1.", "layers.7.") }))
    expect(await doctor(harmed("odd", same, odd), BASE)).toContain("error adapter-module")
    const bare = harmed("bare", same)
    rmSync(join(bare, "adapter_config.json"))
    expect(await doctor(bare)).toContain("error adapter-no-config")
    expect(await doctor(join(FACTS, "bridge-lora-tp1/checkpoint/iter_0000001"))).toEqual(expect.arrayContaining(["error adapter-no-config", "error adapter-only"]))
  })

  it("knows rows that depend on the trainer's layout, and a run configuration of another run", async () => {
    const canonical = join(work, "canonical")
    await run(importAdapter(BASE, PEFT, canonical, { tp: 2, adapterForm: "canonical" }))
    expect(await doctor(canonical)).toContain("note adapter-canonical")
    const config = join(canonical, "iter_0000000", "run_config.yaml")
    writeFileSync(config, readFileSync(config, "utf8").replace(/^( +)dim: \d+$/m, "$1dim: 16"))
    expect(await doctor(canonical)).toContain("error adapter-rank")
  })

  it("knows modules that engines do not adapt, ranks that they do not serve, experts and their forms", () => {
    const module: AdapterModule = { module: "model.layers.0.self_attn.q_proj", stack: "model.layers", layer: 0, dtype: "BF16", rank: 8, inputs: 4, outputs: 4, scale: 1, magnitude: false, norm: 1, outputNorm: 1 }
    const facts: AdapterFacts = { kind: "peft", form: "lora", rank: 8, alpha: 8, dropout: 0, targetModules: ["q_proj"], targetParameters: [], parameters: 64, modules: [module], unpaired: [] }
    const found = (own: Partial<AdapterFacts>) => adapterTraps({ ...facts, ...own }).map(({ code, severity, text }) => `${severity} ${code}: ${text}`).join("\n")
    expect(found({})).toBe("")
    expect(found({ modules: [{ ...module, module: "model.visual.blocks.0.attn.q_proj" }] })).toContain("warning adapter-engine: 1 modules are of an encoder or its projector")
    expect(found({ rank: 1024, modules: [{ ...module, rank: 1024 }] })).toContain("warning adapter-engine: rank 1024 is above what vLLM serves (512)")
    expect(found({ rank: 20, modules: [{ ...module, rank: 20 }] })).toContain("note adapter-engine: vLLM has to be told of rank 20: --max-lora-rank 32")
    expect(found({ modules: [{ ...module, module: "model.layers.0.mlp.experts.3.q_proj" }] })).toContain("note adapter-experts: experts have one pair of matrices each")
    expect(found({ modules: [{ ...module, experts: 4 }] })).toContain("note adapter-experts: experts are in the flat form")
    expect(found({ kind: "megatron", form: "dora" })).toContain("warning adapter-dora: Megatron-Bridge loses the magnitudes")
    const { rank: _rank, ...unread } = facts
    expect(adapterTraps({ ...unread, problem: "bias is \"all\"" }).map(({ code, severity }) => `${severity} ${code}`)).toContain("error adapter-config")
  })
})
