/** The family of docs/adding-a-family.md: registered, it converts both ways; its components can be routed otherwise. */
import { Effect } from "effect"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { Disk } from "../../src/io/Disk.ts"
import { resolveLayout } from "../../src/parallel/Layout.ts"
import { parseComponent } from "../../src/parallel/ModuleParallelism.ts"
import { lantern } from "../../examples/family.ts"

const work = mkdtempSync(join(tmpdir(), "worked-example-"))
afterAll(() => rmSync(work, { recursive: true }))

const config = {
  architectures: ["LanternForConditionalGeneration"],
  text_config: {
    dtype: "bfloat16", hidden_size: 64, intermediate_size: 96, num_attention_heads: 4, num_hidden_layers: 3, num_key_value_heads: 2, vocab_size: 100
  },
  vision_config: { hidden_size: 24, num_layers: 2, patch_size: 4 }
}
const mine = families.with(lantern)
const options = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

const convert = (registry: typeof mine, name: string) => {
  const [hf, megatron, exported] = ["hf", "megatron", "exported"].map((d) => join(work, `${name}-${d}`)) as [string, string, string]
  return Effect.runPromise(Effect.gen(function*() {
    yield* writeSample(registry, { config, fp32: /(?!)/, shardBytes: 30_000 }, hf, { overwrite: false })
    const layout = (names: ReadonlyArray<string>) => resolveLayout(names.map((name) => parseComponent(name === "language" ? "language=tp=2" : `${name}=tp=1`)), names)
    const report = yield* (yield* prepareImport(registry, hf, { ...options, form: "mimo", layout, step: 0 })).run(megatron, { overwrite: false })
    yield* (yield* prepareExport(registry, hf, megatron, options)).run(exported, { overwrite: false })
    return { report, hf, exported }
  }).pipe(Effect.provide(Disk.layer)))
}

const files = (directory: string) => readdirSync(directory).sort().map((name) => [name, readFileSync(join(directory, name)).toString("base64")])

it("round-trips byte for byte, as MIMO with two ranks for the language model", async () => {
  const { exported, hf, report } = await convert(mine, "own")
  expect(report.components.map(({ layout, name }) => [name, layout?.ranks])).toEqual([["language", "0-1"], ["images", "2"]])
  expect(readdirSync(hf)).toContain("model.safetensors.index.json")
  expect(files(exported)).toEqual(files(hf))
})

it("its components can be routed otherwise", async () => {
  const routed = mine.withMimoRoutes("LanternForConditionalGeneration", () => [
    { name: "language", sourcePrefix: "language_model.", targetModulePath: "language_model" },
    {
      name: "pictures",
      sourcePrefix: "vision.blocks.",
      targetModulePath: "modality_submodules.pictures.encoders.blocks",
      also: [
        { sourcePrefix: "vision.patch_embed.", targetModulePath: "modality_submodules.pictures.encoders.patches" },
        { sourcePrefix: "vision.project.", targetModulePath: "modality_submodules.pictures.input_projections.0" }
      ]
    }
  ])
  const { exported, hf, report } = await convert(routed, "routed")
  expect(report.components.map((c) => c.name)).toEqual(["language", "pictures"])
  expect(files(exported)).toEqual(files(hf))
})

it("q, k and v both apart and in one tensor is an error that says where", () => {
  const names = ["model.layers.0.self_attn.q_proj.weight", "model.layers.1.self_attn.qkv_proj.weight"]
  const parsed = lantern.schema.parse(config)
  expect(() => lantern.describe(parsed, { names, tensor: () => undefined })).toThrow("q, k and v stand apart (model.layers.0.self_attn.q_proj.weight)")
})
