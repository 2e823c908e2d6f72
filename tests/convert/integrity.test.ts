/** Checksums of what was written, and the flipped bits that they find. */
import { Effect, Layer } from "effect"
import { beforeAll, beforeEach, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { ChecksumsBuilder, decodeChecksums } from "../../src/publish/integrity/Checksums.ts"
import { type DeepReport, verifyDeep } from "../../src/verify/deep/deep.ts"
import { flippedBit } from "../../src/verify/deep/flippedBit.ts"
import { SUM_BLOCK, sumsOf } from "../../src/engine/internal/WindowSums.ts"
import { Disk } from "../../src/io/Disk.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { loadCase } from "../conformance/cases.ts"
import { differences } from "../torture/checks.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"
import { randomFrom } from "../torture/random.ts"

const KEEP = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const
let converted: MemoryFileSystem
let fs: MemoryFileSystem
const runOn = <A, E>(disk: MemoryFileSystem, effect: Effect.Effect<A, E, Disk>) => Effect.runPromise(effect.pipe(Effect.provide(Layer.succeed(Disk, disk.calls))))
const deep = (path: string): Promise<DeepReport> => runOn(fs, verifyDeep(path))
const flip = (path: string, byte: number, bit: number) =>
  fs.edit(path, (bytes) => {
    bytes[byte]! ^= 1 << bit
    return bytes
  })

beforeAll(async () => {
  converted = new MemoryFileSystem()
  await runOn(converted, writeHfCheckpoint(loadCase("llama-a"), "/hf"))
  const prepared = await runOn(converted, prepareImport(families, "/hf", { form: "standard", layout: () => standardLayout({ tp: 2 }), ...KEEP, step: 0 }))
  await runOn(converted, prepared.run("/out", { overwrite: false }))
  await runOn(converted, prepared.run("/bare", { overwrite: false, checksum: false }))
  const exported = await runOn(converted, prepareExport(families, "/hf", "/out", KEEP))
  await runOn(converted, exported.run("/back", { overwrite: false, checksum: true }))
  await runOn(converted, exported.run("/plain", { overwrite: false }))
})
beforeEach(() => { fs = converted.clone() })

it("one flipped bit is found wherever it is in the data", () => {
  const random = randomFrom(3)
  const data = Uint8Array.from({ length: 5000 }, () => Math.floor(random() * 256))
  const before = crc32(data)
  for (let i = 0; i < 200; i++) {
    const [byte, bit] = [Math.floor(random() * data.byteLength), Math.floor(random() * 8)]
    data[byte]! ^= 1 << bit
    expect(flippedBit(before, crc32(data), data.byteLength)).toEqual({ byte, bit })
    data[byte]! ^= 1 << bit
  }
})

describe("checksums", () => {
  const files = [{ name: "f", size: 8, segments: [
    { kind: "bytes" as const, bytes: Buffer.from("head") },
    { kind: "array" as const, array: { id: "w", dtype: "U8" as const, shape: [4], copies: () => [] }, crc: false }
  ] }]
  const encoded = () => {
    const builder = new ChecksumsBuilder()
    builder.add("f", sumsOf(Buffer.from("data"), 4))
    builder.add("f", sumsOf(Buffer.from("head"), 0))
    builder.small("dir/g", Buffer.from("g"))
    builder.beside("h", Buffer.from(""))
    return builder.encode(files, "made of")
  }
  const hex = (text: string) => crc32(text).toString(16).padStart(8, "0")

  it("are those of files, blocks and tensors", () => {
    expect(decodeChecksums("c", encoded())).toEqual({
      version: 1,
      block: SUM_BLOCK,
      source: "made of",
      files: [
        { name: "f", size: 8, crc32: hex("headdata"), blocks: hex("headdata") },
        { name: "dir/g", size: 1, crc32: hex("g"), blocks: hex("g") }
      ],
      tensors: [{ name: "w", file: "f", begin: 4, end: 8, crc32: hex("data") }],
      parent: [{ name: "h", size: 0, crc32: "00000000", blocks: "" }]
    })
  })

  it("notice what happens to themselves", () => {
    const bytes = encoded()
    for (let i = 0; i < bytes.byteLength; i++) {
      bytes[i]! ^= 1
      expect(() => decodeChecksums("c", bytes), `byte ${i}`).toThrow()
      bytes[i]! ^= 1
    }
    for (let length = 0; length < bytes.byteLength; length++) expect(() => decodeChecksums("c", bytes.subarray(0, length))).toThrow("damaged")
  })

  it("name no file outside the folder", () => {
    const text = encoded().toString().replace("dir/g", "../g/")
    const body = text.slice(text.indexOf("{", 1), -2)
    expect(() => decodeChecksums("c", Buffer.from(text.replace(/[0-9a-f]{8}/, hex(body))))).toThrow("leaves its directory")
  })

  it("are written with an import; with an export on demand, which else has the original's files and no others", () => {
    expect(fs.files("/out").has("iter_0000000/.checksums.json")).toBe(true)
    expect(fs.files("/bare").has("iter_0000000/.checksums.json")).toBe(false)
    expect(fs.files("/back").has(".checksums.json")).toBe(true)
    expect([...fs.files("/plain").keys()]).toEqual([...fs.files("/hf").keys()])
  })
})

it("two runs write the same bytes, checksums included, whatever the concurrency, the memory and the I/O", async () => {
  const settings = [{ concurrency: 1, maxMemory: 1 }, { concurrency: 8, maxMemory: 256 << 20, io: "direct" as const }]
  for (const [i, engine] of settings.entries()) {
    const imports = await runOn(fs, prepareImport(families, "/hf", { form: "standard", layout: () => standardLayout({ tp: 2 }), ...KEEP, step: 0 }))
    await runOn(fs, imports.run(`/import-${i}`, { overwrite: false, ...engine }))
    const exports = await runOn(fs, prepareExport(families, "/hf", "/out", KEEP))
    await runOn(fs, exports.run(`/export-${i}`, { overwrite: false, checksum: true, ...engine }))
  }
  expect(differences(fs.files("/import-0"), fs.files("/import-1"))).toEqual([])
  expect(differences(fs.files("/export-0"), fs.files("/export-1"))).toEqual([])
  expect(differences(fs.files("/import-0"), fs.files("/out"))).toEqual([])
})

describe("verify --deep", () => {
  it.each(["/out", "/out/iter_0000000", "/back"])("finds %s intact", async (path) => {
    const report = await deep(path)
    expect(report).toMatchObject({ against: "checksums", damages: [], notes: [] })
    expect(report.bytes).toBeGreaterThan(500_000)
  })

  it("finds a flipped bit in any file, and says which bit it is", async () => {
    const random = randomFrom(11)
    for (const root of ["/out", "/back"]) {
      for (const [file, bytes] of fs.files(root)) {
        if (file.endsWith("/") || file.endsWith(".checksums.json")) continue
        const [byte, bit] = [Math.floor(random() * bytes.byteLength), Math.floor(random() * 8)]
        flip(`${root}/${file}`, byte, bit)
        expect((await deep(root)).damages, file).toMatchObject([{ file, problem: "content", bit: { byte, bit } }])
        flip(`${root}/${file}`, byte, bit)
      }
    }
  })

  it("names the tensor that the bit is in, and none where it is in none", async () => {
    const [first] = decodeChecksums("", fs.files("/out").get("iter_0000000/.checksums.json")!).tensors
    flip("/out/iter_0000000/__0_0.distcp", first!.begin, 7)
    flip("/back/model-00001-of-00003.safetensors", 20, 0)
    expect((await deep("/out")).damages[0]).toMatchObject({ tensors: [first!.name] })
    expect((await deep("/back")).damages[0]).toMatchObject({ tensors: [] })
  })

  it("names range and tensors of larger damage", async () => {
    const { tensors } = decodeChecksums("", fs.files("/back").get(".checksums.json")!)
    const i = tensors.findIndex((t, k) => tensors[k + 1]?.begin === t.end && tensors[k + 1]?.file === t.file)
    const [second, third] = [tensors[i], tensors[i + 1]]
    fs.edit(`/back/${second!.file}`, (bytes) => bytes.fill(0x55, second!.end - 20, third!.begin + 20))
    const [damage] = (await deep("/back")).damages
    expect(damage).toMatchObject({ begin: 0, tensors: [second!.name, third!.name] })
    expect(damage!.bit).toBeUndefined()
  })

  it("finds files that are missing, shorter or unreadable, and names those it knows nothing of", async () => {
    await fs.calls.remove("/back/model-00001-of-00003.safetensors")
    fs.edit("/back/model-00002-of-00003.safetensors", (bytes) => bytes.slice(0, -1))
    const file = await fs.calls.open("/back/notes.txt", "create")
    await file.close()
    const { damages, notes } = await deep("/back")
    expect(damages.map((d) => [d.file, d.problem])).toEqual([["model-00001-of-00003.safetensors", "missing"], ["model-00002-of-00003.safetensors", "size"]])
    expect(notes).toEqual(["without checksums: notes.txt"])
  })

  it("finds damage to the checksums themselves", async () => {
    flip("/back/.checksums.json", 500, 2)
    expect((await deep("/back")).damages).toMatchObject([{ file: ".checksums.json", problem: "content" }])
  })

  it("does not mind trackers that a later save has rewritten", async () => {
    await fs.calls.makeDirectory("/out/iter_0000100")
    fs.edit("/out/latest_checkpointed_iteration.txt", () => Buffer.from("100"))
    expect((await deep("/out")).damages).toEqual([])
  })

  it("compares with the items' own CRC-32 where a trainer wrote the checkpoint", async () => {
    const clean = await deep("/bare")
    expect(clean).toMatchObject({ against: "items", damages: [] })
    const { begin, end, name } = decodeChecksums("", fs.files("/out").get("iter_0000000/.checksums.json")!).tensors[3]!
    flip("/bare/iter_0000000/__0_0.distcp", end - 1, 4)
    expect((await deep("/bare")).damages).toMatchObject([{ file: "__0_0.distcp", begin, end, tensors: [name], bit: { byte: end - 1, bit: 4 } }])
  })

  it("says when there is nothing to compare with", async () => {
    await expect(deep("/plain")).rejects.toMatchObject({ code: "integrity/no-checksums" })
  })
})
