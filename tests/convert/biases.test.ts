/** Biases that Megatron has and HF has not: filled with zeros, said, checked on the way back. */
import { Effect } from "effect"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parse } from "yaml"
import { afterAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import type { SourceTensor } from "../../src/conformance/Case.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { openCheckpoint } from "../../src/space/Checkpoint.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { verifyHfMegatron } from "../../src/verify/verify.ts"
import { Disk } from "../../src/io/Disk.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { toys } from "../families/toys.ts"

const work = mkdtempSync(join(tmpdir(), "biases-"))
afterAll(() => rmSync(work, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))
const llama = toys.find((toy) => toy.name === "llama-biased-a")!
const FILE = "model.safetensors"
const OPTIONS = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

const MLP = /mlp\.(gate|up|down)_proj\.weight$/
const isAttentionBias = (name: string) => /self_attn\.\w+\.bias$/.test(name)

/** A Llama with the biases that its flags say. */
const model = async (name: string, flags: { readonly attention: boolean; readonly mlp: boolean }, change: Record<string, unknown> = {}): Promise<string> => {
  const config = { ...llama.config, attention_bias: flags.attention, mlp_bias: flags.mlp, ...change }
  const own = llama.tensors.filter((t) => flags.attention || !isAttentionBias(t.name))
  const biases = own.filter((t) => flags.mlp && MLP.test(t.name)).map((t): SourceTensor => ({ ...t, name: t.name.replace(/weight$/, "bias"), shape: [t.shape[0]!] }))
  const tensors = [...own, ...biases].map((t) => ({ ...t, file: FILE }))
  const directory = join(work, name)
  await run(writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: false }, hf: { config, configText: JSON.stringify(config), tensors } }, directory))
  return directory
}

const imported = async (hf: string) => {
  const prepared = await run(prepareImport(families, hf, { ...OPTIONS, form: "standard", layout: () => standardLayout({}), step: 0 }))
  const megatron = `${hf}-megatron`
  const report = await run(prepared.run(megatron, { overwrite: false }))
  const { directory, tensors } = await run(openCheckpoint(megatron))
  const { model: provider } = parse(readFileSync(join(directory, "run_config.yaml"), "utf8"), { version: "1.1" }) as { model: Record<string, unknown> }
  return { megatron, report, provider, keys: [...tensors.keys()], carried: report.carried }
}

const exported = async (hf: string, megatron: string, name: string) => {
  const target = join(work, name)
  const prepared = await run(prepareExport(families, hf, megatron, OPTIONS))
  await run(prepared.run(target, { overwrite: false }))
  return {
    notes: prepared.report.notes.join("\n"),
    config: JSON.parse(readFileSync(join(target, "config.json"), "utf8")) as Record<string, unknown>,
    file: readFileSync(join(target, FILE))
  }
}

const LINEAR = ["self_attention.linear_qkv", "self_attention.linear_proj", "mlp.linear_fc1", "mlp.linear_fc2"]

describe.each([
  ["attention", { attention: true, mlp: false }, "mlp.linear_fc1.bias", "mlp_bias"],
  ["the MLP", { attention: false, mlp: true }, "self_attention.linear_proj.bias", "attention_bias"]
] as const)("biases in %s only", (name, flags, zero, field) => {
  it("are part of the trainer's model, the others are zeros; all come back", async () => {
    const hf = await model(`${field}-off`, flags)
    const { carried, keys, megatron, provider, report } = await imported(hf)
    for (const linear of LINEAR) expect(keys.filter((key) => key.endsWith(`${linear}.bias`))).toHaveLength(1)
    expect(carried).toEqual([])
    expect(provider).toMatchObject({ add_bias_linear: true, add_qkv_bias: flags.attention })
    expect(report.notes.join("\n")).toContain(zero)
    expect(report.notes.join("\n")).toContain("filled with zeros")
    const verified = await run(verifyHfMegatron(families, hf, megatron, {}))
    expect(verified.equal).toBe(verified.total)
    const back = await exported(hf, megatron, `${field}-back`)
    expect(back.file.equals(readFileSync(join(hf, FILE)))).toBe(true)
    expect(back.notes).toContain("they are zero, which has been checked")
  })

  it("that training gave the rest are written, and config.json says so", async () => {
    const { megatron } = await imported(await model(`${field}-trained`, { attention: true, mlp: true }))
    const hf = await model(`${field}-base`, flags)
    const back = await exported(hf, megatron, `${field}-grown`)
    expect(back.config).toMatchObject({ attention_bias: true, mlp_bias: true })
    expect(back.notes).toContain(`config.json says ${field} true`)
    const all = await model(`${field}-all`, { attention: true, mlp: true })
    const verified = await run(verifyHfMegatron(families, hf, megatron, {}))
    expect(verified.tensors.some((t) => t.status === "different" && t.name.endsWith(zero))).toBe(true)
    const again = await run(prepareExport(families, all, megatron, OPTIONS))
    expect(again.report.notes).toEqual([])
    for (const tensor of again.plan.tensors.keys()) expect(back.file.includes(`"${tensor}"`), tensor).toBe(true)
  })
})

it("what training gave a model without room for it is refused by name", async () => {
  const { megatron } = await imported(await model("full", { attention: true, mlp: true }, { tie_word_embeddings: false }))
  const hf = await model("no-room", { attention: true, mlp: false }, { architectures: ["GemmaForCausalLM"], tie_word_embeddings: false })
  const failure = await run(Effect.flip(prepareExport(families, hf, megatron, OPTIONS)))
  expect(failure).toMatchObject({ code: "plan/grown" })
  expect("names" in failure && failure.names).toContainEqual("decoder.layers.0.mlp.linear_fc1.bias")
})

it("zeros that a checkpoint lacks are missing for verify, too", async () => {
  const { megatron } = await imported(await model("without-any", { attention: false, mlp: false }))
  const hf = await model("with-some", { attention: true, mlp: false })
  const { tensors } = await run(verifyHfMegatron(families, hf, megatron, {}))
  const bias = tensors.find(({ name }) => name.endsWith("mlp.linear_fc1.bias"))
  expect(bias).toMatchObject({ status: "missing", detail: "an import fills it with zeros; the checkpoint lacks it" })
})
