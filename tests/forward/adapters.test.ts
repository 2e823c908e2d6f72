/** A base model computed with an adapter is the model whose weights have the adapter's change in them. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { narrowed, widened } from "../../src/arithmetic/convert.ts"
import { plain } from "../../src/arithmetic/plain.ts"
import { checkForward, importCheckpoint } from "../../src/index.ts"
import { readSafetensors, writeSafetensors } from "../../src/safetensors/node.ts"
import { numbers } from "../arithmetic/drivers.ts"
import { collecting, distance, hfLogits } from "./runToy.ts"
import { TOKENS, writeToy } from "./toys.ts"

const work = mkdtempSync(join(tmpdir(), "forward-adapters-"))
const base = join(work, "hf")
afterAll(() => rmSync(work, { recursive: true, force: true }))
beforeAll(() => writeToy("qwen3-yarn", base))

const RANK = 4
const ALPHA = 12

/** Of a fused projection all parts, or some; of an MLP's first matrix one half. */
const TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"]

/** Writes an adapter of every target, and the base with its change in it, in F32. */
const writeBoth = async (name: string, dora: boolean): Promise<void> => {
  const { tensors } = await readSafetensors(base)
  const adapter: Array<{ name: string; dtype: "F32"; shape: ReadonlyArray<number>; data: Uint8Array }> = []
  const merged = [...tensors].map(([tensor, { data, dtype, shape }], seed) => {
    const weight = widened({ dtype: dtype as "BF16", bytes: data })
    const module = /^(.*\.(\w+))\.weight$/.exec(tensor)
    if (module && TARGETS.includes(module[2]!)) {
      const [rows, columns] = shape as readonly [number, number]
      const own = (part: string, shapeOf: ReadonlyArray<number>, values: Float32Array) =>
        adapter.push({ name: `base_model.model.${module[1]}.${part}`, dtype: "F32", shape: shapeOf, data: narrowed(values, "F32") })
      const [a, b] = [numbers(RANK * columns, seed + 1), numbers(rows * RANK, seed + 2)]
      own("lora_A.weight", [RANK, columns], a)
      own("lora_B.weight", [rows, RANK], b)
      const change = plain.product({ a: b, m: rows, b: { dtype: "F32", rows: RANK, columns, bytes: narrowed(a, "F32") }, transposed: false })
      plain.scale(change, ALPHA / RANK)
      plain.add(weight, change)
      if (dora) {
        const magnitude = numbers(rows, seed + 3).map((n) => 1 + n / 2)
        own("lora_magnitude_vector", [rows], magnitude)
        const norms = plain.rowNorms(weight, columns)
        for (let i = 0; i < weight.length; i++) weight[i]! *= magnitude[Math.floor(i / columns)]! / norms[Math.floor(i / columns)]!
      }
    }
    return { name: tensor, dtype: "F32" as const, shape, data: narrowed(weight, "F32") }
  })
  mkdirSync(join(work, name))
  writeFileSync(join(work, name, "adapter_config.json"), JSON.stringify({ peft_type: "LORA", r: RANK, lora_alpha: ALPHA, use_dora: dora, target_modules: TARGETS, lora_dropout: 0, bias: "none", task_type: "CAUSAL_LM" }))
  await writeSafetensors(join(work, name, "adapter_model.safetensors"), adapter)
  mkdirSync(join(work, `${name}-merged`))
  copyFileSync(join(base, "config.json"), join(work, `${name}-merged`, "config.json"))
  await writeSafetensors(join(work, `${name}-merged`, "model.safetensors"), merged, { metadata: new Map([["format", "pt"]]) })
}

const logitsWith = async (path: string, adapter: string, more: { readonly hfModel?: string } = {}): Promise<Float32Array> => {
  const { all, onLogits } = collecting(TOKENS.length, 256)
  const report = await checkForward(path, { ...more, tokens: TOKENS, adapters: [{ path: adapter }], compute: "simd", onLogits })
  expect(report.adapters).toMatchObject([{ path: adapter, rank: RANK, alpha: ALPHA }])
  return all
}

it.each([["lora", false], ["dora", true]] as const)("%s, beside a Hugging Face model and beside a Megatron checkpoint", async (name, dora) => {
  await writeBoth(name, dora)
  const adapter = join(work, name)
  const wanted = await hfLogits(join(work, `${name}-merged`), TOKENS)
  const found = await logitsWith(base, adapter)
  expect(distance(found, wanted)).toBeLessThan(2e-5)
  expect(distance(found, await hfLogits(base, TOKENS))).toBeGreaterThan(0.1)
  const megatron = join(work, `${name}-megatron`)
  await importCheckpoint({ hfModel: base, standard: true, tp: 2 }, megatron, { checksum: false })
  expect(await logitsWith(megatron, adapter, { hfModel: base })).toEqual(found)
})
