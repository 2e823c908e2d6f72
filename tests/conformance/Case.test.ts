import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { describe, expect, it } from "vitest"
import { readCase } from "../../src/conformance/Case.ts"
import { caseBytes, caseNames, loadCase } from "./cases.ts"

const edited = (name: string, edit: (document: any) => void): Uint8Array => {
  const document = JSON.parse(Buffer.from(caseBytes(name)).toString())
  edit(document)
  return Buffer.from(JSON.stringify(document))
}

describe("the committed cases", () => {
  it.each(caseNames)("%s", (name) => {
    const read = loadCase(name)
    expect(read.case).toBe(name)
    expect(read.hf.config["architectures"]).toEqual([read.architecture])
    expect(read.import.ok).toBe(read.megatron !== undefined)
    for (const [key, { chunks, sha256, shape, uninitialised }] of read.megatron?.entries ?? []) {
      expect(sha256 === undefined, key).toBe(uninitialised)
      const covered = chunks.reduce((sum, [, sizes]) => sum + sizes.reduce((a, b) => a * b, 1), 0)
      expect(covered, key).toBe(shape.reduce((a, b) => a * b, 1))
    }
  })

  it("keep the order of entries and tensors", () => {
    const { hf, megatron } = loadCase("llama-a")
    expect(hf.tensors[0]).toEqual({
      name: "lm_head.weight",
      dtype: "BF16",
      shape: [1000, 64],
      file: "model-00001-of-00003.safetensors"
    })
    expect([...megatron!.entries.keys()].slice(0, 3)).toEqual([
      "embedding.word_embeddings.weight",
      "decoder.layers.self_attention.linear_proj.weight",
      "decoder.layers.self_attention.linear_qkv.layer_norm_weight"
    ])
  })

  it("refer to byte payloads that are all at hand", () => {
    const fixture = new URL("../fixtures/conformance/payloads.json", import.meta.url)
    const payloads: ReadonlyArray<{ readonly base64: string }> = JSON.parse(fs.readFileSync(fixture, "utf8"))
    const lengths = new Map(payloads.map(({ base64 }) => {
      const bytes = Buffer.from(base64, "base64")
      return [createHash("sha256").update(bytes).digest("hex"), bytes.byteLength]
    }))
    for (const name of caseNames) {
      for (const { length, sha256 } of loadCase(name).megatron?.bytes ?? []) expect(lengths.get(sha256), name).toBe(length)
    }
  })

  it("tell what the reference never wrote", () => {
    expect(loadCase("qwen3-moe-packed-a").import.uninitialised).toEqual([
      "decoder.layers.mlp.experts.experts.linear_fc1.weight",
      "decoder.layers.mlp.experts.experts.linear_fc2.weight"
    ])
  })
})

describe("configText", () => {
  it("keeps the spelling of numbers: a Python float stays a float", () => {
    const { configText } = loadCase("llama-a").hf
    expect(configText).toContain(`"rms_norm_eps": 1e-06,`)
    expect(configText).toContain(`"rope_theta": 500000.0,`)
    expect(configText).toContain(`"attention_dropout": 0.0,`)
    expect(configText.endsWith("}\n")).toBe(true)
  })

  it("has the size of the config.json that the reference exports unchanged", () => {
    const compared = caseNames.map(loadCase).filter(({ export: e }) => e?.ok && e.configDiff.length === 0)
    expect(compared.length).toBeGreaterThan(20)
    for (const { case: name, export: e, hf } of compared) {
      expect(e?.ok && e.files.find(([file]) => file === "config.json")![1], name).toBe(hf.configText.length)
    }
  })

  it("is ASCII", () => {
    const bytes = edited("llama-a", (d) => { d.hf.config = { name: "naïve \u{1f600}" } })
    expect(readCase(bytes).hf.configText).toBe(`{\n  "name": "na\\u00efve \\ud83d\\ude00"\n}\n`)
  })
})

describe("a file that is no case", () => {
  it("is no JSON", () => {
    expect(() => readCase(Buffer.from("{"))).toThrowError(expect.objectContaining({ code: "conformance/json" }))
  })

  it.each([
    ["schema", (d: any) => { d.schema = "megatron-golden-case/2" }, "schema"],
    ["scheme", (d: any) => { d.weights.scheme = "zeros" }, "weights.scheme"],
    ["dtype", (d: any) => { d.hf.tensors[3][1] = "F64" }, "hf.tensors.3.1"],
    ["shape", (d: any) => { d.hf.tensors[3][2] = [-1] }, "hf.tensors.3.2.0"],
    ["shard outside of its directory", (d: any) => { d.hf.tensors[3][3] = "../x.safetensors" }, "hf.tensors.3.3"],
    ["digest", (d: any) => { d.hf.sha256OfAllTensorBytesInOrder = "abc" }, "hf.sha256OfAllTensorBytesInOrder"]
  ])("has a wrong %s", (_, edit, field) => {
    expect(() => readCase(edited("llama-a", edit))).toThrowError(
      expect.objectContaining({ code: "conformance/case", place: { field } })
    )
  })
})
