/** The journal of a conversion: what it remembers, and what it does not believe. */
import { describe, expect, it } from "vitest"
import { identified } from "../../src/io/Disk.ts"
import { engineFor } from "../../src/publish/journal/engineFor.ts"
import { changesBetween, contentOf, type Fingerprint, fingerprintOf, known, sourceFile } from "../../src/publish/journal/Fingerprint.ts"
import { Journal, readJournal } from "../../src/publish/journal/Journal.ts"
import { SpaceWatch } from "../../src/publish/journal/SpaceWatch.ts"
import { faultyDisk } from "../torture/FaultyDisk.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"

const job: Fingerprint = { ingredients: [known("config.json", "{}")] }
const window = (position: number) => ({ position, size: 100, crc32: 0xdeadbeef, changed: [0, 3] })

const written = async (count: number): Promise<MemoryFileSystem> => {
  const fs = new MemoryFileSystem()
  const journal = await Journal.create(fs.calls, "/journal", job, 65536)
  for (let i = 0; i < count; i++) journal.add("a", window(i * 100))
  await journal.close()
  return fs
}
const read = (fs: MemoryFileSystem) => readJournal(fs.calls, "/journal")

describe("a journal", () => {
  it("gives back the job, the block size and every window", async () => {
    const earlier = await read(await written(3))
    expect(earlier).toMatchObject({ job, block: 65536, bytes: 300 })
    expect(earlier!.find("a", 200)).toEqual(window(200))
    expect([earlier!.find("a", 300), earlier!.find("b", 0), earlier!.began("a"), earlier!.began("b")]).toEqual([undefined, undefined, true, false])
  })

  it("that is not there says nothing", async () => {
    expect(await read(new MemoryFileSystem())).toBeUndefined()
  })

  it("is good up to wherever it was torn", async () => {
    const whole = (await written(3)).files("/").get("journal")!
    for (let length = 0; length <= whole.byteLength; length++) {
      const fs = await written(0)
      fs.edit("/journal", () => whole.slice(0, length))
      const earlier = await read(fs)
      const lines = whole.subarray(0, length).filter((byte) => byte === 0x0a).length
      // The last line counts even without its end.
      expect(earlier === undefined ? 0 : 1 + earlier.bytes / 100).toBeOneOf([lines, lines + 1])
    }
  })

  it("loses the lines in which a bit is wrong, and no others", async () => {
    const fs = await written(3)
    const text = Buffer.from(fs.files("/").get("journal")!).toString()
    const second = text.indexOf("\n") + 20
    fs.edit("/journal", (bytes) => {
      bytes[second]! ^= 1
      return bytes
    })
    const earlier = await read(fs)
    expect([earlier!.find("a", 0), earlier!.find("a", 100)]).toEqual([undefined, window(100)])
  })

  it("is gone on with behind a torn line; what is recorded last counts", async () => {
    const fs = await written(1)
    fs.edit("/journal", (bytes) => Buffer.concat([bytes, Buffer.from("12345678 [\"a\",0")]))
    const journal = await Journal.append(fs.calls, "/journal")
    journal.add("a", { ...window(0), crc32: 1 })
    await journal.close()
    expect((await read(fs))!.find("a", 0)?.crc32).toBe(1)
  })

  it("of another format is none", async () => {
    const fs = await written(0)
    fs.edit("/journal", () => Buffer.from("00000000 {}\n"))
    expect(await read(fs)).toBeUndefined()
  })

  it("that cannot be written ends the work", async () => {
    const fs = new MemoryFileSystem()
    let full = false
    const disk = faultyDisk(fs.calls, ({ operation }) => (full && operation === "write" ? { errno: "ENOSPC" } : undefined))
    const journal = await Journal.create(disk, "/journal", job, 65536)
    full = true
    journal.add("a", window(0))
    await expect(journal.close()).rejects.toMatchObject({ _tag: "NoSpace" })
    expect(disk.opened()).toEqual([])
  })
})

describe("a job", () => {
  const found = { kind: "file" as const, dev: 1, size: 10, ino: 5, mtimeNs: 1000n, ctimeNs: 1000n }
  const state = identified(found)
  const files = [{ name: "f", size: 1, segments: [{ kind: "bytes" as const, bytes: Uint8Array.of(1) }] }]
  const base = [known("config.json", "{}"), sourceFile("model.safetensors", state, "header")]

  it("is the same for the same ingredients", () => {
    expect(changesBetween(fingerprintOf(base, files), fingerprintOf([...base], files))).toEqual([])
  })

  it.each([
    ["config.json", fingerprintOf([known("config.json", "{ }"), base[1]!], files)],
    ["model.safetensors", fingerprintOf([base[0]!, sourceFile("model.safetensors", identified({ ...found, mtimeNs: 1001n }), "header")], files)],
    ["model.safetensors", fingerprintOf([base[0]!, sourceFile("model.safetensors", identified({ ...found, ctimeNs: 1001n }), "header")], files)],
    ["model.safetensors", fingerprintOf([base[0]!, sourceFile("model.safetensors", identified({ ...found, ino: 6 }), "header")], files)],
    ["another", fingerprintOf([...base, known("another", "")], files)],
    ["model.safetensors", fingerprintOf([base[0]!], files)],
    ["the plan of the files", fingerprintOf(base, [{ ...files[0]!, segments: [{ kind: "bytes", bytes: Uint8Array.of(2) }] }])]
  ])("names what changed: %s", (what, other) => {
    expect(changesBetween(fingerprintOf(base, files), other)).toEqual([what])
  })

  it("has a digest that depends on content, not on where and when a file lies", () => {
    const moved = fingerprintOf([base[0]!, sourceFile("model.safetensors", identified({ ...found, dev: 2, ino: 99, mtimeNs: 5n, ctimeNs: 6n }), "header")], files)
    expect(contentOf(moved)).toBe(contentOf(fingerprintOf(base, files)))
    expect(contentOf(fingerprintOf([base[0]!, sourceFile("model.safetensors", state, "other")], files))).not.toBe(contentOf(fingerprintOf(base, files)))
  })
})

describe("a resumed engine", () => {
  it("keeps the block size of the interrupted run, whatever the memory", () => {
    expect(engineFor({ maxMemory: 256 << 20, concurrency: 8 }, 65536)).toMatchObject({ sizes: { block: 65536 }, concurrency: 8 })
  })

  it("pays for larger blocks with concurrency", () => {
    const { concurrency } = engineFor({ maxMemory: 30 << 20, concurrency: 8 }, 4 << 20)
    expect(concurrency).toBeGreaterThanOrEqual(1)
    expect(concurrency).toBeLessThan(8)
  })

  it("is refused where not one block fits", () => {
    expect(() => engineFor({ maxMemory: 4 << 20 }, 4 << 20)).toThrow("more --max-memory")
  })
})

describe("free space", () => {
  it("is looked at while writing; the work ends before the disk is full", async () => {
    const fs = new MemoryFileSystem()
    const watch = new SpaceWatch(fs.calls, "/", 10e9)
    watch.wrote(300 << 20)
    await watch.close()
    fs.free = 1e9
    watch.wrote(300 << 20)
    await watch.close()
    expect(() => watch.wrote(1)).toThrow(/bytes are needed, 1000000000 are free/)
  })
})
