/** Import, export and verify on a tiny multimodal sample: what is promised, and what is refused. */
import { Effect } from "effect"
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { importCheckpoint, exportCheckpoint, verifyCheckpoint, type ImportRequest, Disk } from "../../src/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { verifyHf, verifyMegatron } from "../../src/verify/verify.ts"
import { readSafetensors, type TensorData, type TensorToWrite, writeSafetensors } from "../../src/safetensors/effect.ts"

const work = mkdtempSync(join(tmpdir(), "convert-"))
const hf = join(work, "hf")
const moe = join(work, "moe")
const run = <A, E>(effect: Effect.Effect<A, E, Disk>) => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))
let number = 0
const fresh = () => join(work, `out-${number++}`)

beforeAll(async () => {
  await run(writeSample(families, samples["qwen3.5-vl"]!.tiny, hf, { overwrite: false }))
  await run(writeSample(families, samples["qwen3.5-vl-moe"]!.tiny, moe, { overwrite: false }))
})
afterAll(() => rmSync(work, { recursive: true }))

const sameFiles = (a: string, b: string) => {
  const files = (directory: string) => readdirSync(directory, { recursive: true, encoding: "utf8" }).filter((f) => !statSync(join(directory, f)).isDirectory()).sort()
  expect(files(b)).toEqual(files(a))
  for (const file of files(a)) expect(readFileSync(join(b, file)).equals(readFileSync(join(a, file))), file).toBe(true)
}

const tensorsIn = async (directory: string) => {
  const out = new Map<string, TensorData>()
  for (const file of readdirSync(directory).filter((f) => f.endsWith(".safetensors"))) {
    for (const [name, tensor] of (await run(readSafetensors(join(directory, file)))).tensors) out.set(name, tensor)
  }
  return out
}

describe("Hugging Face → MegatronMIMO → Hugging Face is byte-identical", () => {
  it.each([
    ["tp=1/1", "dense", ["language=tp=1", "images=tp=1"]],
    ["tp=2/2", "dense", ["language=tp=2", "images=tp=2"]],
    ["tp=4/1", "dense", ["language=tp=4", "images=tp=1"]],
    ["pp=2", "dense", ["language=tp=1,pp=2", "images=tp=1"]],
    ["tp=2, pp=2, dp=2", "dense", ["language=tp=2,pp=2,dp=2", "images=tp=2,dp=1"]],
    ["ep=2", "moe", ["language=tp=1,ep=2,dp=2", "images=tp=1,dp=2"]],
    ["tp=2, ep=2, etp=1", "moe", ["language=tp=2,ep=2", "images=tp=1"]],
    ["tp=4, ep=2, etp=2", "moe", ["language=tp=4,ep=2,etp=2", "images=tp=1"]],
    ["images first", "dense", ["language=tp=2,rank_offset=1", "images=tp=1,rank_offset=0"]]
  ])("%s (%s)", async (_, which, components) => {
    const model = { hfModel: which === "moe" ? moe : hf, components }
    const [megatron, exported] = [fresh(), fresh()]
    await importCheckpoint(model, megatron)
    await exportCheckpoint(model, megatron, exported)
    sameFiles(model.hfModel, exported)
  })

  it("the standard form too, and under another layout", async () => {
    const [megatron, exported] = [fresh(), fresh()]
    const model = { hfModel: moe, standard: true, tp: 2, pp: 2 } as const
    await importCheckpoint(model, megatron)
    await exportCheckpoint(model, megatron, exported)
    sameFiles(moe, exported)
  })
})

describe.runIf(process.platform === "linux")("a side file whose name is not UTF-8", () => {
  const withFile = (bytes: string) => {
    const directory = fresh()
    cpSync(hf, directory, { recursive: true })
    writeFileSync(Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(bytes, "latin1")]), "{}")
    return directory
  }

  it("is refused in words where it would be copied", async () => {
    const [named, megatron] = [withFile("notes\xff.json"), fresh()]
    await expect(importCheckpoint({ hfModel: withFile("tokenizer\xff.json") }, fresh())).rejects.toThrow("tokenizer\ufffd.json: has a name that is not UTF-8")
    await importCheckpoint({ hfModel: named }, megatron)
    await expect(exportCheckpoint({ hfModel: named }, megatron, fresh())).rejects.toThrow("notes\ufffd.json: has a name that is not UTF-8")
  })

  it("may have that character in its name", async () => {
    const [directory, megatron, exported] = [fresh(), fresh(), fresh()]
    cpSync(hf, directory, { recursive: true })
    writeFileSync(join(directory, "notes\ufffd.json"), "{}")
    await importCheckpoint({ hfModel: directory }, megatron)
    await exportCheckpoint({ hfModel: directory }, megatron, exported)
    expect(existsSync(join(exported, "notes\ufffd.json"))).toBe(true)
  })
})

it("two imports are byte-identical whatever the concurrency, the memory and the I/O", async () => {
  const [a, b] = [fresh(), fresh()]
  await importCheckpoint({ hfModel: moe }, a, { concurrency: 1, maxMemory: 8 << 20, io: "buffered" })
  await importCheckpoint({ hfModel: moe }, b, { concurrency: 8, maxMemory: 256 << 20 })
  sameFiles(a, b)
})

describe("multi-token prediction", () => {
  it("dropped: listed in the report, and zero in the exported config", async () => {
    const [megatron, exported] = [fresh(), fresh()]
    const report = await importCheckpoint({ hfModel: hf }, megatron, { mtp: "drop" })
    expect(report.leftBehind.map((l) => l.tensor)).toContain("mtp.fc.weight")
    await exportCheckpoint({ hfModel: hf }, megatron, exported)
    expect(JSON.parse(readFileSync(join(exported, "config.json"), "utf8")).text_config.mtp_num_hidden_layers).toBe(0)
    expect((await tensorsIn(exported)).has("mtp.fc.weight")).toBe(false)
  })

  it("grafted from the original onto a checkpoint that lacks it", async () => {
    const [megatron, exported] = [fresh(), fresh()]
    await importCheckpoint({ hfModel: hf }, megatron, { mtp: "drop" })
    await exportCheckpoint({ hfModel: hf }, megatron, exported, { mtpFrom: hf })
    sameFiles(hf, exported)
  })

  it("required but dropped before: refused", async () => {
    const megatron = fresh()
    await importCheckpoint({ hfModel: hf }, megatron, { mtp: "drop" })
    await expect(exportCheckpoint({ hfModel: hf }, megatron, fresh(), { mtp: "require" })).rejects.toMatchObject({ code: "plan/mtp-required" })
  })
})

describe("dtypes", () => {
  const importAs = async (torchDtype: NonNullable<ImportRequest["torchDtype"]>) => {
    const megatron = fresh()
    return { megatron, report: await importCheckpoint({ hfModel: hf }, megatron, { torchDtype }) }
  }

  it("source: nothing changes", async () => {
    expect((await importAs("source")).report.dtypeChanges).toEqual([])
  })

  it("bfloat16: the fp32 islands are cast, and their changed values counted", async () => {
    const { report } = await importAs("bfloat16")
    expect(report.dtypeChanges.length).toBeGreaterThan(0)
    for (const change of report.dtypeChanges) {
      expect(change).toMatchObject({ from: "F32", to: "BF16" })
      // Islands are generated with bits below bf16's.
      expect(change.changedElements).toBeGreaterThan(0)
    }
  })

  it("float32 loses nothing: casting back gives the source", async () => {
    const { megatron, report } = await importAs("float32")
    expect(report.dtypeChanges.every((c) => c.to === "F32")).toBe(true)
    const exported = fresh()
    await exportCheckpoint({ hfModel: hf }, megatron, exported, { torchDtype: "bfloat16" })
    const [source, back] = [await tensorsIn(hf), await tensorsIn(exported)]
    for (const [name, tensor] of source) {
      if (tensor.dtype === "BF16" && !name.includes("norm.weight")) expect(Buffer.compare(back.get(name)!.data, tensor.data), name).toBe(0)
    }
  })
})

describe("accounting", () => {
  /** A copy of the sample with its first shard rewritten. */
  const withShard = async (change: (tensors: Map<string, TensorToWrite>) => void) => {
    const directory = fresh()
    cpSync(hf, directory, { recursive: true })
    const shard = readdirSync(directory).filter((f) => f.endsWith(".safetensors")).sort()[0]!
    const { tensors } = await run(readSafetensors(join(directory, shard)))
    const map = new Map<string, TensorToWrite>(tensors)
    change(map)
    await run(writeSafetensors(join(directory, shard), map.values()))
    const index = JSON.parse(readFileSync(join(directory, "model.safetensors.index.json"), "utf8"))
    for (const [name, file] of Object.entries(index.weight_map)) if (file === shard && !map.has(name)) delete index.weight_map[name]
    for (const name of map.keys()) index.weight_map[name] = shard
    writeFileSync(join(directory, "model.safetensors.index.json"), JSON.stringify(index))
    return directory
  }

  it("a tensor nobody claims is named, and can be left behind on purpose", async () => {
    const directory = await withShard((t) => t.set("extra.weight", { name: "extra.weight", dtype: "F32", shape: [1], data: new Uint8Array(4) }))
    const target = fresh()
    await expect(importCheckpoint({ hfModel: directory }, target)).rejects.toMatchObject({ code: "plan/unmapped", names: ["extra.weight"] })
    expect(existsSync(target)).toBe(false)
    const report = await importCheckpoint({ hfModel: directory }, target, { allowUnmapped: ["extra.*"] })
    expect(report.leftBehind).toEqual([{ tensor: "extra.weight", bytes: 4, reason: "matches --allow-unmapped" }])
  })

  it("a missing tensor is named", async () => {
    const directory = await withShard((t) => t.delete("lm_head.weight"))
    await expect(importCheckpoint({ hfModel: directory }, fresh())).rejects.toMatchObject({ code: "plan/missing", names: ["lm_head.weight"] })
  })

  it("nothing is left behind by a refused import", async () => {
    const directory = await withShard((t) => t.delete("lm_head.weight"))
    const before = readdirSync(work).sort()
    await expect(importCheckpoint({ hfModel: directory }, join(work, "never"))).rejects.toThrow()
    expect(readdirSync(work).sort()).toEqual(before)
  })
})

describe("verify", () => {
  it("Hugging Face against Megatron: every tensor equal", async () => {
    const megatron = fresh()
    await importCheckpoint({ hfModel: hf }, megatron)
    const report = await verifyCheckpoint({ hfModel: hf }, megatron)
    expect([report.equal, report.total]).toEqual([104, 104])
  })

  it("a changed byte is found, with its tensor and how far it is off", async () => {
    const other = fresh()
    cpSync(hf, other, { recursive: true })
    const shard = join(other, readdirSync(other).filter((f) => f.endsWith(".safetensors")).sort()[0]!)
    const bytes = readFileSync(shard)
    bytes[bytes.length - 1]! ^= 0x80
    writeFileSync(shard, bytes)
    const report = await run(verifyHf(hf, other, {}))
    const off = report.tensors.filter((t) => t.status !== "equal")
    expect(off).toHaveLength(1)
    expect(off[0]).toMatchObject({ status: "different", differing: 1 })
    expect(off[0]!.maxAbsDiff).toBeGreaterThan(0)
  })

  it("what the checkpoint lacks is missing, seen from the source", async () => {
    const megatron = fresh()
    await importCheckpoint({ hfModel: hf }, megatron, { mtp: "drop" })
    const off = (await verifyCheckpoint({ hfModel: hf }, megatron)).tensors.filter((t) => t.status !== "equal")
    expect(off.length).toBeGreaterThan(0)
    for (const { name, status } of off) expect([name.slice(0, 4), status]).toEqual(["mtp.", "missing"])
  })

  it("Megatron against Megatron under different layouts", async () => {
    const [a, b] = [fresh(), fresh()]
    await importCheckpoint({ hfModel: moe, components: ["language=tp=2,pp=2", "images=tp=2"] }, a)
    await importCheckpoint({ hfModel: moe }, b)
    const report = await run(verifyMegatron(a, b, {}))
    expect(report.equal).toBe(report.total)
  })
})
