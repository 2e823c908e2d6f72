import { Effect } from "effect"
import { setTimeout } from "node:timers/promises"
import { describe, expect, it } from "vitest"
import { excerptsOf } from "../../src/engine/internal/excerpt.ts"
import { execute } from "../../src/engine/internal/execute.ts"
import { cellsOf, portionsOf } from "../../src/engine/internal/portion.ts"
import { closeSeals, type OpenWindow } from "../../src/engine/internal/seals.ts"
import type { EngineOptions } from "../../src/engine/internal/Settings.ts"
import type { Segment, TargetFile } from "../../src/engine/internal/Target.ts"
import { Disk } from "../../src/io/Disk.ts"
import { SumList } from "../../src/publish/integrity/SumList.ts"
import { crc32 } from "../../src/torch/Crc32.ts"
import { type Behaviour, diskWith } from "./MemoryDisk.ts"
import { floats } from "../tensor/kernels/sweeps.ts"
import { type Random, random } from "../tensor/random.ts"
import { expected, randomBytes, randomWorld, type World } from "./randomLayouts.ts"

interface Written {
  readonly files: Array<TargetFile>
  readonly contents: Map<string, Uint8Array>
  readonly changed: number
}

/** The arrays in a few files, with literal bytes between them and seals behind some: `crc` of the array, little-endian. */
const randomFiles = (next: Random, world: World): Written => {
  const files: Array<TargetFile> = []
  const contents = new Map<string, Uint8Array>()
  let changed = 0
  let segments: Array<Segment> = []
  let bytes: Array<Uint8Array> = []
  const close = () => {
    const whole = new Uint8Array(Buffer.concat(bytes))
    files.push({ name: `file ${files.length}`, segments, size: whole.byteLength })
    contents.set(`/out/${files.at(-1)!.name}`, whole)
    segments = []
    bytes = []
  }
  for (const array of world.arrays) {
    const literal = randomBytes(next, next(3) === 0 ? 0 : 8 * next(9))
    const { bytes: content, changed: values } = expected(world, array)
    changed += values
    segments.push({ kind: "bytes", bytes: literal }, { kind: "array", array, crc: next(2) === 0 })
    bytes.push(literal, content)
    if (next(2) === 0) {
      const sum = Buffer.alloc(4)
      sum.writeUInt32LE(crc32(content))
      const filler = randomBytes(next, next(5))
      segments.push({ kind: "bytes", bytes: filler }, {
        kind: "seal",
        length: 4,
        bytes: (crc) => {
          const out = Buffer.alloc(4)
          out.writeUInt32LE(crc)
          return out
        }
      })
      bytes.push(filler, sum)
    }
    if (next(4) === 0) close()
  }
  close()
  return { files, contents, changed }
}

describe("execute writes what element-by-element copying would", () => {
  it.each([
    ["in blocks of a few bytes, reads of a few bytes", { io: "buffered", sizes: { block: 7, wide: 7, read: 24, work: 512 }, gap: 0 }, {}],
    ["in blocks of a few bytes, reads merged", { io: "buffered", sizes: { block: 60, wide: 600, read: 400, work: 512 }, gap: 50 }, {}],
    ["with short transfers", { io: "buffered", sizes: { block: 1000, wide: 5000, read: 300, work: 512 }, gap: 9 }, { transfer: 13 }],
    ["with the usual sizes", {}, {}],
    ["past the page cache", { io: "direct", sizes: { block: 4096, wide: 16384, read: 500, work: 512 } }, { transfer: 8192 }],
    ["past the page cache with the usual sizes", { io: "direct" }, {}],
    ["where direct I/O is refused", { io: "direct", sizes: { block: 4096, read: 500, work: 512 } }, { direct: "refused" }],
    ["where direct I/O is refused late", { io: "direct", sizes: { block: 4096, read: 500, work: 512 } }, { direct: "refused late" }]
  ] satisfies Array<[string, EngineOptions, Behaviour]>)("%s", async (_, options, behaviour) => {
    for (let seed = 1; seed <= 50; seed++) {
      const next = random(seed)
      const world = seed % 2 === 0
        ? randomWorld(next, 1 + next(8), ["U8", "BF16", "F32", "I64"], 12)
        : randomWorld(next, 1 + next(4), floats, 8, "changed")
      const { changed, contents, files } = randomFiles(next, world)
      const disk = diskWith(world.files, behaviour)
      let progress = 0
      const report = await disk.run(
        execute(files, "/out", { ...options, progress: (bytes) => { progress += bytes } })
      )
      for (const [path, bytes] of contents) {
        expect(Buffer.compare(disk.files.get(path)!, bytes), `seed ${seed}, ${path}`).toBe(0)
        expect(disk.synced).toContain(path)
      }
      expect(disk.open).toBe(0)
      expect(report.changed, `seed ${seed}`).toBe(changed)
      expect(report.arrays).toBe(world.arrays.length)
      expect(report.bytesWritten).toBe(files.reduce((sum, f) => sum + f.size, 0))
      expect(progress).toBe(report.bytesWritten)
      expect(report.files.every((file) => file.direct || file.size === 0)).toBe(
        "io" in options && options.io === "direct" && !("direct" in behaviour)
      )
      expect(report.files.length).toBe(files.length)
    }
  })

  it("with threads that join while it runs", async () => {
    for (let seed = 1; seed <= 4; seed++) {
      const next = random(seed)
      const world = randomWorld(next, 8, floats, 12, "changed")
      const { changed, contents, files } = randomFiles(next, world)
      const disk = diskWith(world.files, { before: (call) => call === "read" ? setTimeout(4) : undefined })
      const report = await disk.run(
        execute(files, "/out", { threads: 2, sharing: { from: 1, after: 0 }, io: "buffered", sizes: { block: 300, wide: 900, read: 200, work: 512 } })
      )
      for (const [path, bytes] of contents) expect(Buffer.compare(disk.files.get(path)!, bytes), `seed ${seed}, ${path}`).toBe(0)
      expect(report.changed, `seed ${seed}`).toBe(changed)
    }
  })
})

describe("in portions, beside each other", () => {
  it.each([
    ["buffered", { io: "buffered", sizes: { block: 1000, wide: 5000, read: 300, work: 512, cell: 4096 } }],
    ["past the page cache", { io: "direct", sizes: { block: 4096, wide: 16384, read: 500, work: 512, cell: 4096 } }]
  ] satisfies Array<[string, EngineOptions]>)("they write what one writes, %s", async (_, options) => {
    let opened = 0
    for (let seed = 1; seed <= 25; seed++) {
      const next = random(seed)
      const world = randomWorld(next, 4 + next(8), floats, 12, "changed")
      const { changed, contents, files } = randomFiles(next, world)
      const disk = diskWith(world.files)
      for (const file of files) disk.files.set(`/out/${file.name}`, new Uint8Array(file.size).fill(0xee))
      const sums = new Map(files.map((file) => [file.name, new SumList()]))
      const open: Array<OpenWindow> = []
      const written = new Set<string>()
      const reports = await Promise.all(portionsOf(files, 1 + next(5), options.sizes.cell).map((portion) =>
        // Every other time each is given no more of the files than it needs.
        disk.run(execute(seed % 2 === 0 ? files : [...portion].map(([name, ranges]) => excerptsOf(files.find((f) => f.name === name)!, options.sizes.cell)(ranges)), "/out", {
          ...options,
          portion,
          onWindow: (name, window) => {
            written.add(`${name} ${window.position} ${window.size}`)
            for (const sum of window.sums) sums.get(name)!.add(sum)
            if (window.open.length > 0) open.push({ file: files.find((f) => f.name === name)!, window })
          }
        }))
      ))
      opened += open.length
      const closed = await disk.run(Effect.flatMap(Disk, (calls) =>
        Effect.promise(() => closeSeals(calls, (name) => `/out/${name}`, open, (name, { end, start }) => sums.get(name)!.crcOf(start, end)))
      ))
      for (const { file, sealed, window } of closed) {
        for (const sum of sealed) sums.get(file.name)!.add(sum)
        const bytes = contents.get(`/out/${file.name}`)!
        expect(window.crc32).toBe(crc32(bytes.subarray(window.position, window.position + window.size)))
      }
      for (const file of files) {
        const [found, bytes] = [disk.files.get(`/out/${file.name}`)!, contents.get(`/out/${file.name}`)!]
        expect(Buffer.compare(found.subarray(0, file.size), bytes), `seed ${seed}, ${file.name}`).toBe(0)
        expect(sums.get(file.name)!.crcOf(0, file.size)).toBe(crc32(bytes))
      }
      expect(reports.reduce((sum, report) => sum + report.changed, 0), `seed ${seed}`).toBe(changed)
      expect(reports.reduce((sum, report) => sum + report.bytesWritten, 0)).toBe(files.reduce((sum, f) => sum + f.size, 0))
      // Another number of processes writes the same windows.
      const alone = diskWith(world.files)
      const windows = new Set<string>()
      await alone.run(execute(files, "/out", { ...options, onWindow: (name, { position, size }) => { windows.add(`${name} ${position} ${size}`) } }))
      expect(written).toEqual(windows)
    }
    expect(opened).toBeGreaterThan(0)
  })

  it("cells ascend from 0, each within its bytes, in the page of the first array there", () => {
    for (let seed = 1; seed <= 60; seed++) {
      const next = random(seed)
      for (const file of randomFiles(next, randomWorld(next, 4 + next(8), ["F64", "F32"], 14)).files) {
        const cells = cellsOf(file, 8192)
        expect(cells.every((start, i) => start % 4096 === 0 && start >= i * 8192 && start < (i + 1) * 8192)).toBe(true)
        expect(cells.length).toBe(Math.max(1, Math.ceil(file.size / 8192)))
      }
    }
  })
})
