/** What else a model directory may hold: refused, named or copied, never lost in silence. And config.json says what was written. */
import { Effect } from "effect"
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk, exportCheckpoint, importCheckpoint, inspectCheckpoint } from "../../src/index.ts"
import { file } from "../safetensors/literal.ts"

const work = mkdtempSync(join(tmpdir(), "beside-"))
const hf = join(work, "hf")
let number = 0
const fresh = () => join(work, `out-${number++}`)
const one = (name: string) => file(`{${JSON.stringify(name)}:{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, Uint8Array.of(7, 7))
const model = (hfModel: string) => ({ hfModel, standard: true }) as const

beforeAll(() => Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, hf, { overwrite: false }).pipe(Effect.provide(Disk.layer))))
afterAll(() => rmSync(work, { recursive: true }))

/** The sample with further files. */
const withFiles = (files: Record<string, Uint8Array>): string => {
  const directory = fresh()
  cpSync(hf, directory, { recursive: true })
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(join(directory, name, ".."), { recursive: true })
    writeFileSync(join(directory, name), bytes)
  }
  return directory
}

it("side weights are said and copied; other copies of the model, and folders, are said and left out", async () => {
  const known = JSON.parse(readFileSync(join(hf, "model.safetensors.index.json"), "utf8")) as { weight_map: Record<string, string> }
  const directory = withFiles({
    "mtp.safetensors": one("draft.fc.weight"),
    "consolidated.safetensors": one("layers.0.attention.wq.weight"),
    "copy.safetensors": one(Object.keys(known.weight_map)[0]!),
    "broken.safetensors": Buffer.from("not weights"),
    "original/weights.safetensors": one("x")
  })
  const [megatron, exported] = [fresh(), fresh()]
  const imported = (await importCheckpoint(model(directory), megatron)).notes.join("\n")
  expect(imported).toContain("mtp.safetensors (1 tensor, ")
  expect(imported).toContain("not converted; an export with this directory copies it")
  const { files, notes } = await exportCheckpoint(model(directory), megatron, exported)
  expect(notes.join("\n")).toMatch(/mtp\.safetensors .* is copied from --hf-model/)
  for (const name of ["consolidated.safetensors", "copy.safetensors", "broken.safetensors", "original"]) {
    expect(imported).toContain(name)
    expect(notes.join("\n")).toContain(name)
    expect(existsSync(join(exported, name)), name).toBe(false)
  }
  expect(files.map((f) => f.name)).toContain("mtp.safetensors")
  expect(readFileSync(join(exported, "mtp.safetensors")).equals(readFileSync(join(directory, "mtp.safetensors")))).toBe(true)
})

it("a whole model.safetensors beside an index is a second model: refused, but for looking", async () => {
  const directory = withFiles({ "model.safetensors": one("x") })
  await expect(importCheckpoint(model(directory), fresh())).rejects.toMatchObject({ code: "safetensors/two-models" })
  const megatron = fresh()
  await importCheckpoint(model(hf), megatron)
  await expect(exportCheckpoint(model(directory), megatron, fresh())).rejects.toMatchObject({ code: "safetensors/two-models" })
  expect((await inspectCheckpoint(directory)).notes.join("\n")).toContain("model.safetensors lies beside")
})

it("config.json says the dtype that all weights have, in every section", async () => {
  const config = JSON.parse(readFileSync(join(hf, "config.json"), "utf8")) as Record<string, unknown>
  const megatron = fresh()
  await importCheckpoint(model(hf), megatron, { torchDtype: "float32" })
  const configOnly = fresh()
  mkdirSync(configOnly)
  writeFileSync(join(configOnly, "config.json"), JSON.stringify({ ...config, dtype: "bfloat16", text_config: { ...(config["text_config"] as object), dtype: "bfloat16" } }))
  const exported = fresh()
  const { notes } = await exportCheckpoint(model(configOnly), megatron, exported)
  const written = JSON.parse(readFileSync(join(exported, "config.json"), "utf8")) as { dtype: string; text_config: { dtype: string } }
  expect([written.dtype, written.text_config.dtype]).toEqual(["float32", "float32"])
  expect(notes.join("\n")).toContain("all weights are float32")
})
