/** Whatever goes wrong, the first error comes back, nothing stays open, and nothing is still under way. */
import { Effect, Exit, Fiber, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { execute } from "../../src/engine/internal/execute.ts"
import type { EngineOptions } from "../../src/engine/internal/Settings.ts"
import { stream } from "../../src/engine/internal/stream.ts"
import type { SourceArray, TargetArray, TargetFile } from "../../src/engine/internal/Target.ts"
import { IoError, NoSpace, Unsupported } from "../../src/errors.ts"
import { identity } from "../../src/tensor/Copy.ts"
import { type Behaviour, MemoryDisk } from "./MemoryDisk.ts"

const LENGTH = 50_000
const OPTIONS: EngineOptions = { concurrency: 3, io: "buffered", sizes: { block: 4096, wide: 4096, read: 2000, work: 8192 } }
const source: SourceArray = { path: "/in", offset: 0, dtype: "U8", shape: [LENGTH] }
const array: TargetArray = { id: "w", dtype: "U8", shape: [LENGTH], copies: () => [identity(source, "w", [LENGTH])] }
const file = (name: string): TargetFile => ({
  name,
  size: LENGTH + 4,
  segments: [{ kind: "array", array, crc: true }, { kind: "seal", length: 4, bytes: () => new Uint8Array(4) }]
})
const diskThat = (behaviour: Behaviour): MemoryDisk => {
  const disk = new MemoryDisk(behaviour)
  disk.files.set("/in", new Uint8Array(LENGTH))
  return disk
}
const io = (operation: string) => new IoError({ path: "/x", operation, errno: "EIO" })

describe("an execution", () => {
  it.each(["open", "read", "write", "sync", "info", "truncate", "close"] as const)("survives no failing %s", async (call) => {
    for (const after of [0, 1, 2, 5, 9]) {
      let count = 0
      const disk = diskThat({
        before: (c, path) => {
          const counts = c === call && (call !== "close" || path.startsWith("/out"))
          if (counts && count++ === after) throw io(call)
        }
      })
      // Truncation happens where whole pages are written.
      const options: EngineOptions = call === "truncate" ? { ...OPTIONS, io: "direct" } : OPTIONS
      const files = Array.from({ length: 10 }, (_, i) => file(`f${i}`))
      const exit = await disk.run(Effect.exit(execute(files, "/out", options)))
      expect(exit, `${call} ${after}`).toEqual(Exit.fail(io(call)))
      expect(disk.open).toBe(0)
      const calls = disk.calls.length
      await new Promise((resolve) => setTimeout(resolve, 2))
      expect(disk.calls.length).toBe(calls)
    }
  })

  it("reports a full disk as such", async () => {
    const full = new NoSpace({ path: "/out/f", needed: 0 })
    const disk = diskThat({ before: (c) => { if (c === "write") throw full } })
    expect(await disk.run(Effect.exit(execute([file("f")], "/out", OPTIONS)))).toEqual(Exit.fail(full))
  })

  it.each([9, 11])("a target that another program cuts while it is written is noticed", async (nth) => {
    let looks = 0
    const disk = diskThat({
      before: (call, path) => { if (call === "info" && path === "/out/f" && ++looks === nth) disk.files.set(path, disk.files.get(path)!.slice(0, 1000)) }
    })
    const exit = await disk.run(Effect.exit(execute([file("f")], "/out", { ...OPTIONS, concurrency: 1 })))
    expect(exit).toEqual(Exit.fail(new IoError({ path: "/out/f", operation: "write", errno: "ESHORT", detail: "another program cut it at byte 1000 while it was written" })))
  })

  it("does not replace a file", async () => {
    const disk = diskThat({})
    disk.files.set("/out/f", Uint8Array.of(1, 2, 3))
    const exit = await disk.run(Effect.exit(execute([file("f")], "/out", OPTIONS)))
    expect(exit).toEqual(Exit.fail(new IoError({ path: "/out/f", operation: "open", errno: "EEXIST" })))
    expect(disk.files.get("/out/f")).toEqual(Uint8Array.of(1, 2, 3))
  })

  it("notices a source that is shorter than its header said", async () => {
    const disk = diskThat({})
    disk.files.set("/in", new Uint8Array(LENGTH - 1))
    const exit = await disk.run(Effect.exit(execute([file("f")], "/out", OPTIONS)))
    expect(exit).toMatchObject(Exit.fail({ errno: "ESHORT", path: "/in" }))
  })

  it("names the array for which there is no kernel", async () => {
    const wrong: TargetArray = { ...array, dtype: "F32" }
    const disk = diskThat({})
    const exit = await disk.run(Effect.exit(execute(
      [{ name: "f", size: LENGTH * 4, segments: [{ kind: "array", array: wrong, crc: false }] }], "/out", OPTIONS
    )))
    expect(exit).toEqual(Exit.fail(new Unsupported({ code: "unsupported/copy", what: "w", problem: "no cast from U8 to F32" })))
    expect(disk.files.has("/out/f")).toBe(false)
  })

  it("keeps few files open", async () => {
    const disk = diskThat({})
    await disk.run(execute(Array.from({ length: 40 }, (_, i) => file(`f${i}`)), "/out", OPTIONS))
    expect(disk.mostOpen).toBeLessThanOrEqual(9)
  })
})

describe("a plan that is wrong is refused before the array is written", () => {
  const refusal = async (target: TargetFile) => {
    const disk = diskThat({})
    const exit = await disk.run(Effect.exit(execute([target], "/out", OPTIONS)))
    expect(disk.open).toBe(0)
    return Exit.isFailure(exit) ? String(exit.cause) : "written"
  }
  const filled = (...copies: ReturnType<TargetArray["copies"]>): TargetFile => ({
    name: "f",
    size: LENGTH,
    segments: [{ kind: "array", array: { ...array, copies: () => copies }, crc: false }]
  })
  const part = (shape: number, from: number, to: number) => ({
    shape: [shape],
    source: { tensor: source, offset: from, strides: [1] },
    target: { tensor: "w", offset: to, strides: [1] }
  })

  it.each([
    ["a hole", filled(part(LENGTH - 1, 0, 0)), "848 elements from 49152 on"],
    ["an overlap", filled(part(LENGTH, 0, 0), part(1, 0, 5)), "4097 values for the 4096 elements from 0 on"],
    ["a source address beyond the source", filled(part(LENGTH, 1, 0)), "a copy for w leaves the array [50000] at byte 0 of /in"],
    ["a target address beyond the array", filled(part(LENGTH, 0, 1)), "a copy leaves w [50000]"],
    ["a file larger than its segments", { ...file("f"), size: LENGTH + 5 }, "the segments of f have 50004 bytes, not 50005"],
    ["a file smaller than its segments", { ...file("f"), size: LENGTH + 3 }, "the segments of f have 50004 bytes, not 50003"],
    ["a seal without an array", { name: "f", size: 4, segments: file("f").segments.slice(1) }, "a seal of f has no array before it"],
    ["a seal of another length", { ...file("f"), segments: [file("f").segments[0]!, { kind: "seal", length: 4, bytes: () => new Uint8Array(3) }] }, "a seal of w has 3 bytes, not 4"]
  ] satisfies Array<[string, TargetFile, string]>)("%s", async (_, target, message) => {
    expect(await refusal(target)).toContain(message)
  })
})

describe("an interruption", () => {
  it("waits for the calls under way, then closes everything", async () => {
    let underWay = 0
    const disk = diskThat({
      before: async (call) => {
        if (call !== "write") return
        underWay++
        await new Promise((resolve) => setTimeout(resolve, 10))
        underWay--
      }
    })
    await disk.run(Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(execute([file("f0"), file("f1")], "/out", OPTIONS))
      yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
      expect(underWay).toBeGreaterThan(0)
      yield* Fiber.interrupt(fiber)
    }))
    expect(underWay).toBe(0)
    expect(disk.open).toBe(0)
    expect(disk.calls.filter((c) => c.call === "write").length).toBeLessThan(10)
  })

  it("is also to stop taking chunks", async () => {
    const disk = diskThat({})
    await disk.run(stream([array], OPTIONS).pipe(Stream.take(1), Stream.runDrain))
    expect(disk.open).toBe(0)
  })
})
