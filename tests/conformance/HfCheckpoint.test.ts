import { describe, expect, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { createHash } from "node:crypto"
import * as fs from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { digestOfWeights, writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { Disk } from "../../src/io/Disk.ts"
import { caseNames, loadCase } from "./cases.ts"

const scratch = Effect.acquireRelease(
  Effect.sync(() => fs.mkdtempSync(join(tmpdir(), "hf-"))),
  (path) => Effect.sync(() => fs.rmSync(path, { recursive: true }))
)

const write = Effect.fnUntraced(function*(name: string) {
  const directory = join(yield* scratch, "hf")
  yield* writeHfCheckpoint(loadCase(name), directory)
  return directory
})

const json = (path: string) => JSON.parse(fs.readFileSync(path, "utf8"))

/** Data of all shards, one after another. */
const digestOfFiles = (directory: string): string => {
  const hash = createHash("sha256")
  for (const file of fs.readdirSync(directory).filter((f) => f.endsWith(".safetensors")).sort()) {
    const bytes = fs.readFileSync(join(directory, file))
    hash.update(bytes.subarray(8 + Number(bytes.readBigUInt64LE(0))))
  }
  return hash.digest("hex")
}

describe("every source can be made again", () => {
  it.each(caseNames)("%s", (name) => {
    const read = loadCase(name)
    expect(digestOfWeights(read)).toEqual({ totalBytes: read.hf.totalBytes, sha256: read.hf.sha256OfAllTensorBytesInOrder })
  })
})

layer(Disk.layer)("writeHfCheckpoint", (it) => {
  it.effect.each(["llama-a", "deepseek-v3-fp8-a", "gpt-oss-mxfp4-a", "mimo-qwen3.5-vl-islands-tp1-a"])(
    "%s: the shards hold the tensors in list order",
    Effect.fnUntraced(function*(name) {
      expect(digestOfFiles(yield* write(name))).toBe(loadCase(name).hf.sha256OfAllTensorBytesInOrder)
    })
  )

  it.effect("a text model: shards, index, config, tokenizer", () =>
    Effect.gen(function*() {
      const directory = yield* write("llama-a")
      expect(fs.readdirSync(directory).sort()).toEqual([
        "config.json",
        "generation_config.json",
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
        "tokenizer_config.json"
      ])
      expect(fs.readFileSync(join(directory, "config.json"), "utf8")).toBe(loadCase("llama-a").hf.configText)
      const shard = fs.readFileSync(join(directory, "model-00001-of-00003.safetensors"))
      expect(shard.toString("latin1", 8, 100)).toBe(
        `{"__metadata__":{"format":"pt"},"lm_head.weight":{"dtype":"BF16","shape":[1000,64],"data_off`
      )
      const index = json(join(directory, "model.safetensors.index.json"))
      expect(index.metadata).toEqual({ total_size: 588928 })
      expect(Object.keys(index.weight_map).length).toBe(39)
      expect(index.weight_map["lm_head.weight"]).toBe("model-00001-of-00003.safetensors")
      expect(json(join(directory, "generation_config.json"))).toEqual({
        _from_model_config: true,
        bos_token_id: 1,
        eos_token_id: 2,
        transformers_version: "5.18.0"
      })
    }))

  it.effect("a vision model has a preprocessor too", () =>
    Effect.gen(function*() {
      const directory = yield* write("mimo-qwen3.5-vl-tied-tp1-a")
      expect(json(join(directory, "preprocessor_config.json"))).toMatchObject({ patch_size: 16, merge_size: 2, temporal_patch_size: 2 })
    }))

  it.effect("one shard needs no index", () =>
    Effect.gen(function*() {
      const { hf, weights } = loadCase("llama-a")
      const directory = join(yield* scratch, "hf")
      const tensors = hf.tensors.slice(0, 2).map((tensor) => ({ ...tensor, file: "model.safetensors" }))
      yield* writeHfCheckpoint({ weights, hf: { ...hf, tensors } }, directory)
      expect(fs.readdirSync(directory).filter((f) => f.includes("safetensors"))).toEqual(["model.safetensors"])
    }))

  it.effect("never writes into a directory that exists", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(writeHfCheckpoint(loadCase("llama-a"), yield* scratch))
      expect(error).toMatchObject({ _tag: "IoError", errno: "EEXIST" })
    }))

  it.effect("the tokenizer maps every byte to a symbol of its own", () =>
    Effect.gen(function*() {
      const directory = yield* write("llama-a")
      const { added_tokens, model } = json(join(directory, "tokenizer.json"))
      expect(Object.values(model.vocab).sort((a: any, b: any) => a - b)).toEqual(Array.from({ length: 256 }, (_, id) => id))
      expect(model.vocab).toMatchObject({ "!": 0, "~": 93, "¡": 94, "ÿ": 187, "Ġ": 220, "Ń": 255 })
      expect(added_tokens.map(({ content, id }: any) => [id, content])).toEqual([[256, "<|im_end|>"], [257, "<|endoftext|>"]])
    }))
})
