/** Work orders: what one process has planned, others do without a plan, to the same bytes, over every test model. */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import { describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { canBeOrdered, type Order, orderOf, orderSchema, workOf } from "../../src/convert/orders/order.ts"
import { pathOf, placeIn, plannedSource, SourceCheck, sourceSchema } from "../../src/convert/orders/sources.ts"
import { closeSeals, excerptsOf, execute, type OpenWindow, type Portion, portionsOf, type TargetFile } from "../../src/engine/index.ts"
import { Disk, nodeCalls } from "../../src/io/Disk.ts"
import { hfFiles } from "../../src/plan/HfFiles.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { bitsOf } from "../../src/tensor/DType.ts"
import { diskWith, type MemoryDisk } from "../engine/MemoryDisk.ts"
import { exportOf, importOf } from "../families/inMemory.ts"
import { sourceOf, type Toy, toys } from "../families/toys.ts"

/** Small, so that toys have several cells and arrays lie across their borders. */
const CELL = 64 << 10
const OPTIONS = { io: "buffered", threads: 0, concurrency: 2, sizes: { block: 32 << 10, wide: 1 << 20, read: 64 << 10, work: 1 << 17, cell: CELL } } as const

const bytesOfToy = ({ tensors }: Toy): number => tensors.reduce((sum, { dtype, shape }) => sum + shape.reduce((n, extent) => n * extent, 1) * bitsOf(dtype) / 8, 0)

/** Every architecture, by its smallest models: they differ in rows, not in what orders have to say. */
const smallest = [...Map.groupBy(toys, (toy) => toy.architecture).values()].flatMap((own) => [...own].sort((a, b) => bytesOfToy(a) - bytesOfToy(b)).slice(0, 1))

/** Files of a toy's tensors with bytes of their own. */
const sourceFiles = (toy: Toy): ReadonlyMap<string, Uint8Array> =>
  new Map(sourceOf(toy, toy.tensors).weights.files.map(({ headerBytes, path, size }, file) => {
    const bytes = new Uint8Array(size)
    let state = 1 + file
    for (let i = 0; i + 4 <= size; i += 4) {
      state = Math.imul(state, 1664525) + 1013904223 | 0
      bytes[i] = state >>> 9
      bytes[i + 1] = state >>> 24
      bytes[i + 2] = state >>> 17
      // Exponents of numbers near one: values that a cast does not turn into NaN.
      bytes[i + 3] = 0x3f
    }
    bytes.set(headerBytes)
    return [path, bytes]
  }))

const through = (order: Order): Order => orderSchema.parse(JSON.parse(JSON.stringify(order)))

/** What a process without a plan makes of each portion. */
const byOrders = async (disk: MemoryDisk, files: ReadonlyArray<TargetFile>, portions: ReadonlyArray<Portion>): Promise<void> => {
  const excerpts = new Map(files.map((file) => [file.name, excerptsOf(file, CELL)]))
  const sources = [...disk.files].map(([path, bytes]) => ({ path, size: bytes.byteLength }))
  for (const file of files) disk.files.set(`/out/${file.name}`, new Uint8Array(file.size).fill(0xee))
  const open: Array<OpenWindow> = []
  for (const portion of portions) {
    const order = orderOf({
      files: [...portion].map(([name, ranges]) => excerpts.get(name)!(ranges)),
      portion,
      sourceOf: (path) => sources.findIndex((source) => source.path === path),
      storagesIn: () => []
    })
    const work = workOf(through(order), sources)
    await disk.run(execute(work.files, "/out", {
      ...OPTIONS,
      portion: work.portion,
      onWindow: (name, window) => { if (window.open.length > 0) open.push({ file: files.find((f) => f.name === name)!, window }) }
    }))
  }
  const crcOf = (name: string, { end, start }: { readonly start: number; readonly end: number }) => crc32(disk.files.get(`/out/${name}`)!.subarray(start, end))
  await disk.run(Effect.flatMap(Disk, (calls) => Effect.promise(() => closeSeals(calls, (name) => `/out/${name}`, open, crcOf))))
}

const digestsOf = (disk: MemoryDisk, files: ReadonlyArray<TargetFile>): ReadonlyArray<string> =>
  files.map(({ name, size }) => createHash("sha1").update(disk.files.get(`/out/${name}`)!.subarray(0, size)).digest("hex"))

const sameByOrders = async (sources: ReadonlyMap<string, Uint8Array>, files: ReadonlyArray<TargetFile>): Promise<ReadonlyArray<Uint8Array>> => {
  const alone = diskWith(sources)
  await alone.run(execute(files, "/out", OPTIONS))
  const together = diskWith(sources)
  await byOrders(together, files, portionsOf(files, 5, CELL).filter((portion) => portion.size > 0))
  expect(digestsOf(together, files)).toEqual(digestsOf(alone, files))
  return files.map(({ name }) => alone.files.get(`/out/${name}`)!)
}

const isMimo = (config: Toy["config"]): boolean => {
  const family = families.find(config)
  return family.describe(family.schema.parse(config), noHeaders).components.length > 0
}

describe("what processes write that have not planned", () => {
  it.each(smallest.map((toy) => [toy.name, toy] as const))("%s: imported, and exported again", async (_, toy) => {
    const plan = importOf(toy, isMimo(toy.config) ? "mimo" : "standard")
    expect(canBeOrdered(plan.checkpoint.files)).toBe(true)
    const written = await sameByOrders(sourceFiles(toy), plan.checkpoint.files)
    const source = sourceOf(toy, toy.tensors)
    const { files } = hfFiles(exportOf(toy, plan), source.weights)
    expect(canBeOrdered(files)).toBe(true)
    await sameByOrders(new Map(plan.checkpoint.files.map(({ name }, i) => [`/toy/iter_0000000/${name}`, written[i]!])), files)
  })
})

describe("what a work order says is checked before anything is done", () => {
  const source = { path: "/source", size: 4096 }
  const good: Order = {
    reads: [[0, 0, "BF16", [4, 8]]],
    literals: ["AAAA"],
    files: [{
      name: "__0_0.distcp", size: 67, start: 0, first: 0, cells: [0], ranges: [[0, 67]],
      segments: [{ is: "bytes", literal: 0 }, { is: "array", id: "a", dtype: "BF16", shape: [32], crc: true, copies: [[[32], [0, 0, [1]], 0, [1], null, []]] }]
    }],
    storages: [[0, 0, 0, 64, 1, "a"]]
  }
  const changed = (change: (order: any) => void): unknown => {
    const order = structuredClone(good)
    change(order)
    return order
  }

  it("a good one is carried out", async () => {
    const { files, portion, sources, storages } = workOf(orderSchema.parse(good), [source])
    expect([[...sources], storages.length]).toEqual([[0], 1])
    const bytes = Uint8Array.from({ length: 4096 }, (_, i) => i)
    const disk = diskWith(new Map([["/source", bytes], ["/out/__0_0.distcp", new Uint8Array(67)]]))
    await disk.run(execute(files, "/out", { ...OPTIONS, portion }))
    expect(disk.files.get("/out/__0_0.distcp")).toEqual(new Uint8Array([0, 0, 0, ...bytes.subarray(0, 64)]))
  })

  it.each<readonly [string, (order: any) => void]>([
    ["a file outside of the directory", (o) => { o.files[0].name = "../metadata" }],
    ["an absolute name", (o) => { o.files[0].name = "/etc/passwd" }],
    ["a dtype that is none", (o) => { o.reads[0][2] = "BF17" }],
    ["a negative offset", (o) => { o.reads[0][1] = -1 }],
    ["a size that no number holds", (o) => { o.files[0].size = 2 ** 60 }],
    ["a transform that is none", (o) => { o.files[0].segments[1].copies[0][4] = { kind: "run", what: "this" } }],
    ["literals that are no base64", (o) => { o.literals[0] = "*" }],
    ["a segment of another kind", (o) => { o.files[0].segments[0] = { is: "program" } }]
  ])("refused by its shape: %s", (_, change) => {
    expect(orderSchema.safeParse(changed(change)).success).toBe(false)
  })

  it.each<readonly [string, (order: any) => void]>([
    ["a file that is not among the sources", (o) => { o.reads[0][0] = 1 }],
    ["an array beyond the end of its file", (o) => { o.reads[0][1] = 4090 }],
    ["an array of more elements than can be counted", (o) => { o.reads[0][3] = [2 ** 40, 2 ** 40] }],
    ["a copy from no array", (o) => { o.files[0].segments[1].copies[0][1][0] = 7 }],
    ["a copy with other axes", (o) => { o.files[0].segments[1].copies[0][3] = [1, 1] }],
    ["bytes that are not there", (o) => { o.files[0].segments[0].literal = 3 }],
    ["a range beyond the file", (o) => { o.files[0].ranges = [[0, 68]] }],
    ["ranges that overlap", (o) => { o.files[0].ranges = [[0, 40], [30, 67]] }],
    ["the same file twice", (o) => { o.files.push(o.files[0]) }],
    ["storages of a file that is not there", (o) => { o.storages[0][0] = 2 }]
  ])("refused: %s", (_, change) => {
    expect(() => workOf(orderSchema.parse(changed(change)), [source])).toThrow(expect.objectContaining({ code: "cluster/orders" }))
  })

  it.each<readonly [string, (order: any) => void]>([
    ["a copy that leaves its array", (o) => { o.files[0].segments[1].copies[0][1][1] = 8 }],
    ["an array that is not filled", (o) => { o.files[0].segments[1].copies = [] }],
    ["segments that end before the range does", (o) => { o.files[0].segments.pop() }]
  ])("refused by the engine, which writes nothing: %s", async (_, change) => {
    const { files, portion } = workOf(orderSchema.parse(changed(change)), [source])
    const disk = diskWith(new Map([["/source", new Uint8Array(4096)], ["/out/__0_0.distcp", new Uint8Array(67)]]))
    await expect(disk.run(execute(files, "/out", { ...OPTIONS, portion }))).rejects.toThrow(RangeError)
    expect(disk.files.get("/out/__0_0.distcp")).toEqual(new Uint8Array(67))
  })
})

describe("sources are named so that each process finds its own, and held against what was planned with", () => {
  it("within the directories that all were given, by whatever path", () => {
    expect(placeIn({ model: "./hf/", checkpoint: "/c" }, "hf/sub/a.safetensors")).toEqual({ root: "model", name: "sub/a.safetensors" })
    expect(placeIn({ model: "." }, "a.safetensors")).toEqual({ root: "model", name: "a.safetensors" })
    expect(placeIn({ model: "hf://org/name" }, "hf:/org/name/a.safetensors")).toEqual({ root: "model", name: "a.safetensors" })
    expect(placeIn({ mtp: "/x/one.safetensors" }, "/x/one.safetensors")).toEqual({ root: "mtp", name: "" })
    expect(placeIn({ model: "/hf" }, "/hfother/a.safetensors")).toBeUndefined()
    expect(placeIn({ model: "." }, "../a.safetensors")).toBeUndefined()
    expect(pathOf({ model: "/there" }, { root: "model", name: "a" })).toBe("/there/a")
    expect(() => pathOf({ model: "/there" }, { root: "constructor", name: "a" })).toThrow(expect.objectContaining({ code: "cluster/orders" }))
    const source = { root: "model", size: 1, head: 0, sha256: "0".repeat(64) }
    expect(["a", "../a", "a/../../b", "/a", "a//b"].map((name) => sourceSchema.safeParse({ ...source, name }).success)).toEqual([true, false, false, false, false])
  })

  it("by length and first bytes, once", async () => {
    const bytes = new Uint8Array(10_000).fill(7)
    const store = (content: Uint8Array | undefined) => {
      let reads = 0
      const path = "/hf/a"
      return { reads: () => reads, disk: { ...nodeCalls, open: async () => {
        if (content === undefined) throw Object.assign(new (await import("../../src/errors.ts")).IoError({ path, operation: "open", errno: "ENOENT" }))
        return { path, info: async () => ({ size: content.byteLength }) as never, close: async () => {}, read: async (into: Uint8Array, at: number) => { reads++; into.set(content.subarray(at, at + into.byteLength)); return into.byteLength } } as never
      } } }
    }
    const right = store(bytes)
    const planned = await plannedSource(right.disk, { model: "/hf" }, "/hf/a", undefined)
    expect(planned).toMatchObject({ root: "model", name: "a", size: 10_000, head: 4096 })
    expect(await plannedSource(right.disk, { model: "/hf" }, "/hf/a", { size: 10_000, header: bytes.subarray(0, 4096) })).toEqual(planned)
    const check = new SourceCheck(right.disk)
    await Promise.all([check.require("/hf/a", planned), check.require("/hf/a", planned)])
    expect(right.reads()).toBe(2)
    const other = bytes.slice()
    other[100] = 1
    for (const [content, problem] of [[other, "does not begin here as it does for rank 0"], [bytes.subarray(1), "has 9999 bytes here, 10000 for rank 0"], [undefined, "is not there on this host"]] as const) {
      await expect(new SourceCheck(store(content).disk).require("/hf/a", planned)).rejects.toMatchObject({ code: "launch/source", message: expect.stringContaining(problem) })
    }
  })
})
