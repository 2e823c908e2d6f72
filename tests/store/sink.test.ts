/** One suite for every sink, and the engine writing into one that is no directory. */
import { Effect } from "effect"
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeEach, describe, expect, it } from "vitest"
import { Arena, directorySink, execute, type SourceArray } from "../../src/engine/index.ts"
import { nodeCalls } from "../../src/io/Disk.ts"
import type { Sink } from "../../src/store/Sink.ts"
import { identity } from "../../src/tensor/Copy.ts"
import { MemoryDisk } from "../engine/MemoryDisk.ts"
import { memorySink } from "./memorySink.ts"

const work = mkdtempSync(join(tmpdir(), "sink-"))
afterAll(() => rmSync(work, { recursive: true }))

interface Driver {
  readonly sink: Sink
  /** What others see. */
  readonly visible: () => ReadonlyMap<string, Uint8Array>
}

const directory = (): Driver => {
  const root = mkdtempSync(join(work, "directory-"))
  const staged = mkdtempSync(join(work, "staged-"))
  rmSync(root, { recursive: true })
  return {
    sink: directorySink(nodeCalls, staged, async () => renameSync(staged, root)),
    visible: () => {
      try {
        return new Map(readdirSync(root).map((name) => [name, new Uint8Array(readFileSync(join(root, name)))]))
      } catch {
        return new Map()
      }
    }
  }
}

const memory = (): Driver => {
  const files = new Map<string, Uint8Array>()
  return { sink: memorySink(files), visible: () => files }
}

/** Page-aligned memory that begins with `bytes`. */
const room = (bytes: Uint8Array): Uint8Array => {
  const pages = new Arena(bytes.byteLength + 4096).memory.u8
  pages.set(bytes)
  return pages
}
const BYTES = Uint8Array.from({ length: 10_000 }, (_, i) => i % 251)
const plain = { begun: false, shared: false }

describe.each([["directory", directory], ["memory", memory]] as const)("%s", (_, make) => {
  let driver: Driver
  beforeEach(() => { driver = make() })

  it("a file is written in any order, and there for others with the commit", async () => {
    const file = await driver.sink.create({ name: "a", size: 10_000, ...plain })
    await file.write(room(BYTES.subarray(8192)), 10_000 - 8192, 8192, false)
    await file.write(room(BYTES.subarray(0, 8192)), 8192, 0, false)
    expect((await file.finish())?.size).toBe(10_000)
    expect(driver.visible().size).toBe(0)
    await driver.sink.commit()
    expect([...driver.visible()]).toEqual([["a", BYTES]])
  })

  it("some ranges may be left to others", async () => {
    const file = await driver.sink.create({ name: "a", size: 10, ...plain })
    await file.write(room(BYTES.subarray(0, 10)), 10, 0, false)
    await file.writeAround(room(new Uint8Array(10).fill(9)), 10, 0, [{ start: 2, end: 4 }, { start: 9, end: 10 }])
    await file.finish()
    await driver.sink.commit()
    expect([...driver.visible().get("a")!]).toEqual([9, 9, 2, 3, 9, 9, 9, 9, 9, BYTES[9]])
  })

  it("a name is taken once, but by a file that was begun before", async () => {
    const file = await driver.sink.create({ name: "a", size: 4096, ...plain })
    await file.write(room(BYTES.subarray(0, 4096)), 4096, 0, false)
    await file.abandon()
    await expect(driver.sink.create({ name: "a", size: 8192, ...plain })).rejects.toMatchObject({ _tag: "IoError", errno: "EEXIST" })
    const again = await driver.sink.create({ name: "a", size: 8192, ...plain, begun: true })
    await again.write(room(BYTES.subarray(4096, 8192)), 4096, 4096, false)
    await again.finish()
    await driver.sink.commit()
    expect(driver.visible().get("a")).toEqual(BYTES.subarray(0, 8192))
  })

  it("a file that is shorter than it was to be is not finished", async () => {
    const file = await driver.sink.create({ name: "a", size: 5000, ...plain })
    await file.write(room(BYTES.subarray(0, 4096)), 4096, 0, false)
    await expect(file.finish()).rejects.toMatchObject({ _tag: "IoError", errno: "ESHORT" })
  })
})

it("the engine writes into a sink that is no directory", async () => {
  const disk = new MemoryDisk()
  disk.files.set("/in", BYTES)
  const source: SourceArray = { path: "/in", offset: 0, dtype: "U8", shape: [10_000] }
  const files = new Map<string, Uint8Array>()
  const sink = memorySink(files)
  const array = { id: "w", dtype: "U8" as const, shape: [10_000], copies: () => [identity(source, "w", [10_000])] }
  const target = { name: "f", size: 10_003, segments: [{ kind: "bytes" as const, bytes: Uint8Array.of(7, 7, 7) }, { kind: "array" as const, array, crc: false }] }
  const report = await disk.run(execute([target], "", { sink, sizes: { block: 4096 } }).pipe(Effect.orDie))
  expect(report.files).toEqual([{ name: "f", size: 10_003, direct: false }])
  expect(files.size).toBe(0)
  await sink.commit()
  expect(files.get("f")).toEqual(Uint8Array.of(7, 7, 7, ...BYTES))
  expect([...disk.files.keys()]).toEqual(["/in"])
})
