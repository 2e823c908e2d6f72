/** Looking into files of every kind: names, sums, places, peculiarities. */
import { Effect } from "effect"
import { copyFileSync, cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { inspectionCsv } from "../../src/cli/inspectCsv.ts"
import { inspectionJson, inspectionText } from "../../src/cli/inspectText.ts"
import { readTensor } from "../../src/safetensors/Reader.ts"
import { openSafetensors } from "../../src/safetensors/SafetensorsDirectory.ts"
import { type Inspection, inspection } from "../../src/inspect/Inspection.ts"
import { measure } from "../../src/inspect/measure.ts"
import { openSpace } from "../../src/space/openSpace.ts"
import { chunksOf } from "../../src/space/TensorSpace.ts"
import { caseModel, dataFiles, folderOf, fresh, imported, makeDirectory, metadataOf, run, sampleModel, workDirectory } from "../relabel/checkpoints.ts"

const work = workDirectory("inspect")
let vlm: string
let mimo: string
let standard: string

const inspected = async (path: string, options: { stats?: boolean; boxes?: boolean; filter?: (name: string) => boolean } = {}): Promise<Inspection> =>
  run(Effect.gen(function*() {
    const space = yield* openSpace(path, families)
    const statistics = options.stats ? yield* measure([...space.tensors.values()]) : undefined
    return inspection(space, {
      ...(options.filter ? { filter: options.filter } : {}),
      ...(options.boxes ? { boxes: true } : {}),
      ...(statistics ? { statistics } : {})
    })
  }))

beforeAll(async () => {
  vlm = await sampleModel(work)
  mimo = await imported(work, { hfModel: vlm, components: ["language=tp=2,pp=2", "images=tp=1"] })
  standard = await imported(work, { hfModel: vlm, standard: true })
})

const text = (i: Inspection) => [...inspectionText(i, { list: false, summary: false })].join("")
const csv = (i: Inspection) => [...inspectionCsv(i)].join("").trimEnd()

describe("a Hugging Face model", () => {
  it("tensors by component as the family routes them, sums that add up", async () => {
    const found = await inspected(vlm)
    expect(found.model.name).toBe("Qwen3_5ForConditionalGeneration")
    expect(found.components.map((c) => c.name).sort()).toEqual(["images", "language"])
    expect(found.components.reduce((n, c) => n + c.bytes, 0)).toBe(found.totals.bytes)
    expect(found.dtypes.reduce((n, d) => n + d.elements, 0)).toBe(found.totals.elements)
    expect(found.tensors.reduce((n, t) => n + t.bytes, 0)).toBe(found.totals.bytes)
    expect(found.layers.filter((l) => l.stack === "model.language_model.layers")).toHaveLength(4)
  })

  it("points out fp32 islands and multi-token prediction", async () => {
    const { findings } = await inspected(vlm)
    expect(findings.find((f) => f.code === "fp32-islands")!.names).toHaveLength(6)
    expect(findings.find((f) => f.code === "mtp")!.names).toHaveLength(15)
  })

  it("a single shard is a space of its own", async () => {
    const found = await inspected(join(vlm, "model-00002-of-00003.safetensors"))
    expect(found.totals.files).toBe(1)
    expect(found.model.name).toBeUndefined()
  })

  it("quantised weights and their scales are marked", async () => {
    const found = await inspected(await caseModel(work, "deepseek-v3-fp8-a"))
    const finding = found.findings.find((f) => f.code === "quantised")!
    expect(finding.text).toContain("fp8")
    expect(finding.names.some((n) => n.endsWith("weight_scale_inv"))).toBe(true)
  })

  it("a tied head is said to be tied, a stored one beside it is pointed out", async () => {
    const tied = await inspected(await caseModel(work, "llama-tied-a"))
    expect(tied.findings.find((f) => f.code === "tied-head")!.text).toContain("stored once")
    const both = await inspected(await caseModel(work, "llama-tied-with-head-a"))
    expect(both.findings.find((f) => f.code === "tied-head")!.text).toContain("yet a head is stored")
  })

  it("a config.json that cannot be read is refused; without it, the tensors can be looked at", async () => {
    const copy = makeDirectory(fresh(work))
    const files = ["model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors", "model.safetensors.index.json"]
    for (const name of files) copyFileSync(join(vlm, name), join(copy, name))
    writeFileSync(join(copy, "config.json"), "{")
    await expect(inspected(copy)).rejects.toThrow("config.json")
    expect((await inspected(join(copy, "model.safetensors.index.json"))).totals.tensors).toBe(104)
    writeFileSync(join(copy, "config.json"), "{}")
    const found = await inspected(copy)
    expect(found.totals.tensors).toBe(104)
    expect(found.notes.join()).toContain("architectures[0]")
  })
})

describe("a Megatron checkpoint", () => {
  it("is found from its parent and from its iteration folder", async () => {
    const [a, b] = [await inspected(mimo), await inspected(folderOf(mimo))]
    expect({ ...a, path: "" }).toEqual({ ...b, path: "" })
    expect(a.form).toBe("mimo")
    expect(a.model.name).toBe("Qwen35VLModelProvider")
    expect(a.model.layout).toContainEqual({ component: "language", tp: 2, pp: 2, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0 })
    expect(new Map(a.common).get("iteration")).toBe("0")
  })

  it("says which rank's file holds what", async () => {
    const { files, tensors } = await inspected(mimo)
    const images = files.filter((f) => f.components.join() === "images")
    expect(images.map((f) => f.rank)).toEqual([4])
    expect(tensors.find((t) => t.name === "language_model.embedding.word_embeddings.weight")!.files).toEqual(["__0_0.distcp", "__1_0.distcp"])
    expect(files.reduce((n, f) => n + f.bytes, 0)).toBe([...dataFiles(mimo).values()].reduce((n, b) => n + b.byteLength, 0))
  })

  it("counts the layers of a stacked key one by one", async () => {
    const { layers } = await inspected(standard)
    const vision = layers.filter((l) => l.stack === "vision_model.decoder.layers")
    expect(vision.map((l) => l.layer)).toEqual([0, 1])
    expect(vision[0]!.bytes).toBe(vision[1]!.bytes)
  })

  it("lists the box and bytes of every chunk on demand, filtered by name", async () => {
    const { tensors } = await inspected(mimo, { boxes: true, filter: (name) => name.endsWith("output_layer.weight") })
    expect(tensors).toHaveLength(1)
    expect(tensors[0]!.boxes!.map((c) => [c.offsets, c.sizes, c.file])).toEqual([[[0, 0], [500, 64], "__2_0.distcp"], [[500, 0], [500, 64], "__3_0.distcp"]])
  })

  it("the same numbers in text, JSON and CSV", async () => {
    const found = await inspected(mimo)
    const json = JSON.parse([...inspectionJson(found)].join("")) as Inspection
    expect(json).toEqual({ ok: true, command: "inspect", schema: 1, exitCode: 0, ...JSON.parse(JSON.stringify(found)) })
    expect(csv(found).split("\n")).toHaveLength(1 + found.tensors.length)
    expect(text(found)).toContain(`${found.totals.tensors} tensors`)
  })

  it("a run configuration that cannot be read is a note", async () => {
    const copy = await imported(work, { hfModel: vlm, standard: true })
    writeFileSync(join(folderOf(copy), "run_config.yaml"), `a: ${"[".repeat(1000)}`)
    const found = await inspected(copy)
    expect(found.notes.join()).toContain("nested deeper than 64 levels")
    expect(found.totals.tensors).toBe(98)
  })

  it("absent module states are pointed out", async () => {
    const { encodeMetadata } = await import("../../src/torch/DcpMetadataWriter.ts")
    const copy = await imported(work, { hfModel: vlm, standard: true })
    const { className, objects, tensors } = metadataOf(copy)
    writeFileSync(join(folderOf(copy), ".metadata"), encodeMetadata({ className, tensors, objects: new Map([...objects].filter(([key]) => !key.includes("_extra_state"))) }))
    expect((await inspected(copy)).findings.map((f) => f.code)).toContain("no-extra-states")
  })

  it("padding of the vocabulary is counted", async () => {
    const copy = await imported(work, { hfModel: vlm, standard: true })
    const file = join(folderOf(copy), "run_config.yaml")
    writeFileSync(file, readFileSync(file, "utf8").replace("vocab_size: 1000", "vocab_size: 990"))
    expect((await inspected(copy)).findings.find((f) => f.code === "padding")!.text).toContain("10 rows of padding: 1000 stored, vocabulary of 990")
  })
})

describe("single files", () => {
  it("a .distcp beside its index has names", async () => {
    const found = await inspected(join(folderOf(standard), "__0_0.distcp"))
    expect(found.kind).toBe("items")
    expect(found.tensors.some((t) => t.name === "language_model.embedding.word_embeddings.weight")).toBe(true)
  })

  it("alone it has items without names, found from the end of the file", async () => {
    const alone = join(makeDirectory(fresh(work)), "data.distcp")
    copyFileSync(join(folderOf(standard), "__0_0.distcp"), alone)
    const [found, whole] = [await inspected(alone), await inspected(join(folderOf(standard), "__0_0.distcp"))]
    expect(found.totals.tensors).toBe(whole.totals.tensors)
    expect(found.totals.bytes).toBe(whole.totals.bytes)
    expect(found.notes.join()).toContain("its items have no names")
  })

  it("cut short or of another kind, it is refused", async () => {
    const bytes = readFileSync(join(folderOf(standard), "__0_0.distcp"))
    const alone = join(makeDirectory(fresh(work)), "data.distcp")
    writeFileSync(alone, bytes.subarray(0, bytes.length - 1))
    await expect(inspected(alone)).rejects.toThrow("no torch.save archive ends here")
    writeFileSync(alone, "x")
    await expect(inspected(alone)).rejects.toThrow("no torch.save archive ends here")
  })

  it("a .pt file: tensors by path, the rest as facts", async () => {
    const found = await inspected(join(standard, "latest_train_state.pt"), { stats: true })
    expect(found.tensors.map((t) => t.name)).toContain("consumed_train_samples")
    expect(found.tensors.find((t) => t.name === "step")!.statistics).toMatchObject({ elements: 1, min: 0, max: 0 })
    const common = await inspected(join(folderOf(standard), "common.pt"))
    expect(new Map(common.common).get("content_metadata.singleton_local_shards")).toBe("false")
  })

  it("other paths are refused with what is expected", async () => {
    const empty = makeDirectory(fresh(work))
    await expect(inspected(empty)).rejects.toThrow("holds no checkpoint")
    writeFileSync(join(empty, "x.txt"), "x")
    await expect(inspected(join(empty, "x.txt"))).rejects.toThrow("is neither .safetensors, .distcp nor a torch.save file")
    writeFileSync(join(empty, "model.gguf"), "GGUF")
    await expect(inspected(empty)).rejects.toThrow("this is a GGUF model")
  })
})

describe("statistics", () => {
  it("of a tensor that ranks cut are those of the whole one", async () => {
    const [cut, whole] = [await inspected(mimo, { stats: true }), await inspected(vlm, { stats: true })]
    const of = (found: Inspection, name: string) => found.tensors.find((t) => t.name === name)!.statistics!
    const [a, b] = [of(cut, "language_model.embedding.word_embeddings.weight"), of(whole, "model.language_model.embed_tokens.weight")]
    expect(a).toMatchObject({ elements: b.elements, min: b.min, max: b.max, zeros: b.zeros })
    expect(a.mean!).toBeCloseTo(b.mean!, 12)
    expect(a.std!).toBeCloseTo(b.std!, 12)
  })

  it("are not given of bytes that were damaged: what is read is summed", async () => {
    const copy = fresh(work)
    cpSync(standard, copy, { recursive: true })
    const space = await run(openSpace(copy))
    const tensor = [...space.tensors.values()].find((t) => t.role === "model" && t.bytes > 4096)!
    const chunk = chunksOf(tensor)[0]!
    const file = join(folderOf(copy), chunk.file)
    const bytes = readFileSync(file)
    // In the middle of an item lies its data.
    bytes[chunk.offset + (chunk.length >> 1)]! ^= 4
    writeFileSync(file, bytes)
    await expect(inspected(copy, { stats: true })).rejects.toMatchObject({ code: "checkpoint/crc", place: { tensor: tensor.name } })
    await expect(inspected(file, { stats: true })).rejects.toMatchObject({ code: "checkpoint/crc" })
    await inspected(copy)
  })

  it("are those of the bytes", async () => {
    const { tensors } = await inspected(vlm, { stats: true })
    const source = await run(openSafetensors(vlm))
    const name = "model.language_model.layers.0.linear_attn.A_log"
    const values = new Float32Array((await run(readTensor(source, name))).slice().buffer)
    const found = tensors.find((t) => t.name === name)!.statistics!
    expect(found.min).toBe(Math.min(...values))
    expect(found.max).toBe(Math.max(...values))
    expect(found.mean!).toBeCloseTo(values.reduce((x, y) => x + y, 0) / values.length, 12)
  })
})

it("names that would be formulas or break lines are made harmless in CSV and text", async () => {
  const found = await inspected(vlm)
  const evil = { ...found, tensors: [{ ...found.tensors[0]!, name: "=1+1\n\u001b[31m,\"x\"" }], of: 1 }
  expect(csv(evil).split("\n")[1]).toMatch(/^"'=1\+1$/)
  expect(text(evil)).not.toContain("\u001b[31m,")
})
