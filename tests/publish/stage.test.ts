/** Several writers stage, one commits: nothing is visible before, everything after. */
import { Effect, Layer } from "effect"
import { beforeEach, describe, expect, it } from "vitest"
import type { TargetFile } from "../../src/engine/internal/Target.ts"
import { Disk } from "../../src/io/Disk.ts"
import { commit } from "../../src/publish/commit.ts"
import { decodeChecksums } from "../../src/publish/integrity/Checksums.ts"
import { fingerprintOf, known } from "../../src/publish/journal/Fingerprint.ts"
import type { Publication } from "../../src/publish/Publication.ts"
import { publish } from "../../src/publish/publish.ts"
import type { Share } from "../../src/publish/Share.ts"
import { stage } from "../../src/publish/stage.ts"
import { identity } from "../../src/tensor/Copy.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"

const file = (name: string, text: string): TargetFile => ({ name, size: text.length, segments: [{ kind: "bytes", bytes: Buffer.from(text) }] })
const share = (...files: ReadonlyArray<TargetFile>): Share => ({ files, states: [] })
const [one, two] = [share(file("a", "first"), file("b", "second")), share(file("c", "third"))]

let fs: MemoryFileSystem
beforeEach(() => { fs = new MemoryFileSystem() })

const publishing = <A>(use: (publication: Publication) => Effect.Effect<A, never, Disk> | ReturnType<typeof commit>, resume = false) =>
  Effect.runPromise(
    publish("/out", {
      overwrite: false,
      resume,
      size: 16,
      checksums: true,
      job: { identity: fingerprintOf([known("the text", "1")], [...one.files, ...two.files]), folder: "", engine: {} }
    }, (publication) => use(publication) as ReturnType<typeof commit>).pipe(Effect.provide(Layer.succeed(Disk, fs.calls)))
  )

describe("two writers and one commit", () => {
  it.each([["one after the other", 1], ["at once", 2]] as const)("%s: the target comes to be when all is staged", async (_, concurrency) => {
    await publishing((publication) =>
      Effect.gen(function*() {
        yield* Effect.forEach([one, two], (s) => stage(publication, s), { concurrency })
        expect(fs.has("/out")).toBe(false)
        yield* commit(publication, { trackers: [["latest", Buffer.from("3")]] })
      }))
    const found = fs.files("/out")
    expect(["a", "b", "c", "latest"].map((name) => Buffer.from(found.get(name)!).toString())).toEqual(["first", "second", "third", "3"])
    expect(decodeChecksums("x", found.get(".checksums.json")!).files.map((f) => f.name)).toEqual(["a", "b", "c"])
    expect([...fs.files("/").keys()].filter((name) => name.startsWith(".out"))).toEqual([])
  })

  it("what one has staged is kept if the other fails, and is found by the next run", async () => {
    const gone = identity({ path: "/none", offset: 0, dtype: "U8" as const, shape: [5] }, "c", [5])
    const unreadable = share({ name: "c", size: 5, segments: [{ kind: "array", array: { id: "c", dtype: "U8", shape: [5], copies: () => [gone] }, crc: false }] })
    await expect(publishing((publication) =>
      stage(publication, one).pipe(
        Effect.andThen(stage(publication, unreadable)),
        Effect.andThen(commit(publication))
      ))).rejects.toThrow("are done and kept in /.out.partial")
    expect(fs.has("/out")).toBe(false)
    let found = 0
    await publishing((publication) => {
      const { execution } = publication
      found = ["a", "b", "c"].filter((name) => execution.earlier?.began(name)).length
      return stage(publication, one).pipe(Effect.andThen(stage(publication, two)), Effect.andThen(commit(publication)))
    }, true)
    expect(found).toBe(2)
    expect(fs.files("/out").size).toBe(4)
  })

  it("a publication that is not committed is an error of the program, and leaves nothing", async () => {
    await expect(publishing((publication) => stage(publication, one).pipe(Effect.asVoid))).rejects.toThrow("a publication ends with its commit")
    expect(fs.has("/out")).toBe(false)
  })
})
