/** Stored heads of tied models, read and compared: what comes of them on disk, there and back. */
import { Effect } from "effect"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { Disk } from "../../src/io/Disk.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import type { DType } from "../../src/tensor/DType.ts"
import { type Toy, toys } from "../families/toys.ts"

const work = mkdtempSync(join(tmpdir(), "tie-"))
afterAll(() => rmSync(work, { recursive: true }))

const [EMBEDDING, HEAD] = ["model.embed_tokens.weight", "lm_head.weight"]
const FILE = "model.safetensors"
const llama: Toy = toys.find((toy) => toy.name === "llama-tied-with-head-a")!
const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))

/** A model of one file whose tensors are those of the toy but for `without`; every tensor holds other values. */
const model = async (name: string, config: Record<string, unknown>, without: ReadonlyArray<string> = []): Promise<string> => {
  const directory = join(work, name)
  const tensors = llama.tensors.filter((t) => !without.includes(t.name)).map((t) => ({ ...t, file: FILE }))
  await run(writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config, configText: JSON.stringify(config), tensors } }, directory))
  return directory
}

/** Write the values of one tensor over those of another. */
const overwrite = (directory: string, target: string, source: string): void => {
  const bytes = readFileSync(join(directory, FILE))
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, start).toString()) as Record<string, { readonly dtype: DType; readonly data_offsets: readonly [number, number] }>
  const [from, to] = [header[source]!, header[target]!].map((t) => t.data_offsets.map((o) => start + o) as [number, number])
  bytes.copy(bytes, to![0], from![0], from![1])
  writeFileSync(join(directory, FILE), bytes)
}

const OPTIONS = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const

const imported = async (hf: string) => {
  const prepared = await run(prepareImport(families, hf, { ...OPTIONS, form: "standard", layout: () => standardLayout({}), step: 0 }))
  const keys = [...prepared.plan.checkpoint.metadata.tensors.keys()]
  return { prepared, ownHead: keys.includes("output_layer.weight"), notes: prepared.plan.report.notes.join("\n") }
}

const written = async (hf: string): Promise<string> => {
  await run((await imported(hf)).prepared.run(`${hf}-megatron`, { overwrite: true }))
  return `${hf}-megatron`
}

const exported = async (hf: string, megatron: string, name: string) => {
  const prepared = await run(prepareExport(families, hf, megatron, OPTIONS))
  await run(prepared.run(join(work, name), { overwrite: false }))
  return {
    notes: prepared.report.notes.join("\n"),
    config: JSON.parse(readFileSync(join(work, name, "config.json"), "utf8")) as Record<string, unknown>,
    file: readFileSync(join(work, name, FILE))
  }
}

const tied = { ...llama.config, tie_word_embeddings: true }
const untied = { ...llama.config, tie_word_embeddings: false }

describe("both matrices are stored, and the config says tied", () => {
  it("a head of other values is a head of its own, and comes back", async () => {
    const hf = await model("differs", tied)
    const { notes, ownHead } = await imported(hf)
    expect(ownHead).toBe(true)
    expect(notes).toContain(`${HEAD} is not ${EMBEDDING}, although tie_word_embeddings is true`)
    const back = await exported(hf, await written(hf), "differs-back")
    expect(back.file.equals(readFileSync(join(hf, FILE)))).toBe(true)
    expect(back.config).toEqual(tied)
    expect(back.notes).toContain("config.json says, as that of --hf-model does")
  })

  it("a head of the same values is the embedding, and comes back", async () => {
    const hf = await model("equal", tied)
    overwrite(hf, HEAD, EMBEDDING)
    const { notes, ownHead } = await imported(hf)
    expect(ownHead).toBe(false)
    expect(notes).toContain("has been compared")
    expect((await exported(hf, await written(hf), "equal-back")).file.equals(readFileSync(join(hf, FILE)))).toBe(true)
  })
})

describe("one matrix is stored", () => {
  it("the head alone is read as the embedding, and comes back under its name", async () => {
    const hf = await model("head-only", tied, [EMBEDDING])
    expect((await imported(hf)).ownHead).toBe(false)
    expect((await exported(hf, await written(hf), "head-only-back")).file.equals(readFileSync(join(hf, FILE)))).toBe(true)
  })

  it("an untied model without a head is refused, with the field that would make it one", async () => {
    const failure = await run(Effect.flip(prepareImport(families, await model("no-head", untied, [HEAD]), { ...OPTIONS, form: "standard", layout: () => standardLayout({}), step: 0 })))
    expect(failure.message).toContain(HEAD)
    expect(failure.message).toContain("tie_word_embeddings to true")
  })
})

describe("the trained model decides over the config of --hf-model", () => {
  it("a head of its own makes config.json say untied", async () => {
    const megatron = await written(await model("trained-untied", untied))
    const bare = join(work, "bare")
    mkdirSync(bare)
    for (const [name, config] of [["flag", tied], ["default", { ...tied, architectures: ["GemmaForCausalLM"], tie_word_embeddings: undefined }]] as const) {
      writeFileSync(join(bare, "config.json"), JSON.stringify(config))
      const back = await exported(bare, megatron, `bare-${name}`)
      expect(back.config["tie_word_embeddings"]).toBe(false)
      expect(back.notes).toContain("config.json says so")
      expect(back.file.includes(HEAD)).toBe(true)
    }
    const stored = await model("stored-equal", tied)
    overwrite(stored, HEAD, EMBEDDING)
    expect((await exported(stored, megatron, "stored-equal-back")).config["tie_word_embeddings"]).toBe(false)
    const once = await exported(await model("stored-once", tied, [HEAD]), megatron, "stored-once-back")
    expect(once.config["tie_word_embeddings"]).toBe(false)
    expect(once.file.includes(HEAD)).toBe(true)
  })

  it("none is refused where config.json says untied, with the two fields", async () => {
    const megatron = await written(await model("trained-tied", tied, [HEAD]))
    const failure = await run(Effect.flip(prepareExport(families, await model("says-untied", untied), megatron, OPTIONS)))
    expect(failure.message).toContain("output_layer.weight")
    expect(failure.message).toContain("share_embeddings_and_output_weights")
    expect(failure.message).toContain("tie_word_embeddings")
  })
})
