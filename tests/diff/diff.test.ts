/** How checkpoints differ: in names, shapes, dtypes, values, and by how much. */
import { cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { diff, type DiffOptions } from "../../src/diff/diff.ts"
import { importCheckpoint } from "../../src/index.ts"
import { type TensorToWrite, writeSafetensors } from "../../src/safetensors/effect.ts"
import { caseModel, fresh, imported, makeDirectory, run, sampleModel, workDirectory } from "../relabel/checkpoints.ts"
import { makeTrained } from "../relabel/trained.ts"

const work = workDirectory("diff")
let vlm: string
let mimo: string
let standard: string

beforeAll(async () => {
  vlm = await sampleModel(work)
  mimo = await imported(work, { hfModel: vlm, components: ["language=tp=2,pp=2", "images=tp=1"] })
  standard = await imported(work, { hfModel: vlm, standard: true })
})

const compared = (left: string, right: string, options: Partial<DiffOptions> = {}) =>
  run(diff(families, left, right, { headers: false, norms: true, ...options }))

const floats = (...values: ReadonlyArray<number>) => new Uint8Array(Float32Array.from(values).buffer)

const saved = async (tensors: ReadonlyArray<TensorToWrite>): Promise<string> => {
  const path = join(makeDirectory(fresh(work)), "model.safetensors")
  await run(writeSafetensors(path, tensors))
  return path
}

describe("two files", () => {
  it("missing, extra, shape, dtype and values are told apart", async () => {
    const left = await saved([
      { name: "only.left", dtype: "F32", shape: [1], data: floats(1) },
      { name: "shape", dtype: "F32", shape: [2], data: floats(1, 2) },
      { name: "dtype", dtype: "F32", shape: [2], data: floats(1, 2) },
      { name: "values", dtype: "F32", shape: [4], data: floats(3, 4, 0, 0) },
      { name: "same", dtype: "F32", shape: [1], data: floats(7) }
    ])
    const right = await saved([
      { name: "only.right", dtype: "F32", shape: [1], data: floats(1) },
      { name: "shape", dtype: "F32", shape: [1, 2], data: floats(1, 2) },
      { name: "dtype", dtype: "BF16", shape: [2], data: Uint8Array.of(0x80, 0x3f, 0x00, 0x40) },
      { name: "values", dtype: "F32", shape: [4], data: floats(3, 4, 1, 0) },
      { name: "same", dtype: "F32", shape: [1], data: floats(7) }
    ])
    const report = await compared(left, right)
    expect(Object.fromEntries(report.tensors.map((t) => [t.name, t.kind]))).toEqual({ "only.left": "missing", "only.right": "extra", shape: "shape", dtype: "dtype", values: "values" })
    expect(report.counts).toEqual({ missing: 1, extra: 1, shape: 1, dtype: 1, values: 1 })
    expect([report.equal, report.total]).toEqual([1, 6])
    expect(report.tensors.find((t) => t.name === "values")!.distance).toEqual({ elements: 4, differing: 1, maxAbsDiff: 1, norm: 1, relative: 0.2 })
    // Cast to the other's dtype, the values agree.
    expect(report.tensors.find((t) => t.name === "dtype")!.distance).toMatchObject({ differing: 0 })
  })

  it("a NaN has no distance, and is not overlooked", async () => {
    const left = await saved([{ name: "w", dtype: "F32", shape: [3], data: floats(1, NaN, 2) }])
    const right = await saved([{ name: "w", dtype: "F32", shape: [3], data: floats(1, 5, 2) }])
    const [found] = (await compared(left, right)).tensors
    expect(found!.distance!.differing).toBe(1)
    expect(found!.distance!.maxAbsDiff).toBeNaN()
  })

  it("equal NaNs are equal, 0 and -0 are not", async () => {
    const left = await saved([{ name: "a", dtype: "F32", shape: [1], data: floats(NaN) }, { name: "b", dtype: "F32", shape: [1], data: floats(0) }])
    const right = await saved([{ name: "a", dtype: "F32", shape: [1], data: floats(NaN) }, { name: "b", dtype: "F32", shape: [1], data: floats(-0) }])
    const report = await compared(left, right)
    expect(report.tensors.map((t) => t.name)).toEqual(["b"])
    expect(report.tensors[0]!.distance).toMatchObject({ differing: 1, maxAbsDiff: 0 })
  })

  it("a filter leaves the rest out of every count", async () => {
    const left = await saved([{ name: "a", dtype: "F32", shape: [1], data: floats(1) }, { name: "b", dtype: "F32", shape: [1], data: floats(1) }])
    const right = await saved([{ name: "a", dtype: "F32", shape: [1], data: floats(2) }, { name: "c", dtype: "F32", shape: [1], data: floats(1) }])
    expect(await compared(left, right, { filter: (name) => name === "a" })).toMatchObject({ total: 1, equal: 0 })
  })

  it("without data, values cannot differ; without norms, they are only counted", async () => {
    const left = await saved([{ name: "a", dtype: "F32", shape: [1], data: floats(1) }])
    const right = await saved([{ name: "a", dtype: "F32", shape: [1], data: floats(2) }])
    expect(await compared(left, right, { headers: true })).toMatchObject({ equal: 1, compared: false })
    expect((await compared(left, right, { norms: false })).tensors[0]!.distance).toEqual({ elements: 1, differing: 1 })
  })

  it("blocks of any size give the same distances", async () => {
    const values = Array.from({ length: 50_000 }, (_, i) => Math.sin(i))
    const left = await saved([{ name: "a", dtype: "F32", shape: [50_000], data: floats(...values) }])
    const right = await saved([{ name: "a", dtype: "F32", shape: [50_000], data: floats(...values.map((v, i) => (i % 7 === 0 ? v + 1 : v))) }])
    const [a, b] = [await compared(left, right), await compared(left, right, { maxMemory: 8 << 20, concurrency: 1 })]
    expect(a.tensors).toEqual(b.tensors)
    expect(a.tensors[0]!.distance!.differing).toBe(Math.ceil(50_000 / 7))
  })
})

describe("across formats", () => {
  it("a model and its checkpoints are equal, in any pair", async () => {
    for (const [left, right] of [[vlm, mimo], [mimo, vlm], [vlm, standard]] as const) {
      const report = await compared(left, right)
      expect(report.tensors).toEqual([])
      expect(report.total).toBe(104)
    }
  })

  it("standard and MIMO are compared under the standard model's names", async () => {
    const report = await compared(standard, mimo)
    expect(report.tensors).toEqual([])
    expect(report.total).toBe(98)
    expect(report.notes.join()).toContain("compared under the names of the standard model")
  })

  it("wrappers and training state do not count", async () => {
    const trained = fresh(work)
    makeTrained(mimo, trained)
    expect((await compared(mimo, trained)).tensors).toEqual([])
  })

  it("one changed bit is found, under the model's name", async () => {
    const copy = fresh(work)
    cpSync(vlm, copy, { recursive: true })
    const file = join(copy, "model-00003-of-00003.safetensors")
    const bytes = readFileSync(file)
    bytes[bytes.length - 2]! ^= 1
    writeFileSync(file, bytes)
    const report = await compared(copy, mimo)
    expect(report.tensors).toHaveLength(1)
    expect(report.tensors[0]).toMatchObject({ kind: "values", distance: { differing: 1 } })
  })

  it("a quantised model is compared by what its codes stand for", async () => {
    const fp8 = await caseModel(work, "deepseek-v3-fp8-a")
    const target = fresh(work)
    await importCheckpoint({ hfModel: fp8, standard: true }, target)
    const report = await compared(fp8, target)
    expect(report.tensors).toEqual([])
  })

  it("two data files of a checkpoint, by the names of their index", async () => {
    const iteration = join(standard, "iter_0000000")
    const report = await compared(join(iteration, "__0_0.distcp"), join(iteration, "__0_0.distcp"))
    expect(report.equal).toBe(report.total)
  })
})
