/** Interrupted conversions go on where they ended, and only if nothing has changed since. */
import { Effect, Fiber, Layer } from "effect"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { openCheckpoint } from "../../src/space/Checkpoint.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import type { RunOptions } from "../../src/convert/produce.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import type { TorchDtype } from "../../src/plan/Options.ts"
import { Disk, type DiskCalls } from "../../src/io/Disk.ts"
import { faultyDisk } from "../torture/FaultyDisk.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { loadCase } from "../conformance/cases.ts"
import { differences } from "../torture/checks.ts"
import { hurry } from "../torture/hurry.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"

const SHARD = "/hf/model-00001-of-00003.safetensors"
/** Another value somewhere in the data. */
const flipped = (bytes: Uint8Array): Uint8Array => {
  bytes[bytes.byteLength - 4000]! ^= 0x10
  return bytes
}

let model: MemoryFileSystem
let expected: ReadonlyMap<string, Uint8Array>
let fs: MemoryFileSystem
let slow: () => void

/** As an unhindered process would see it, and with the smallest blocks. */
interface Change extends Partial<RunOptions> {
  readonly disk?: DiskCalls
  readonly torchDtype?: TorchDtype
}
const importing = ({ disk, torchDtype = "source", ...options }: Change = {}) =>
  prepareImport(families, "/hf", { form: "standard", layout: () => standardLayout({ tp: 2 }), torchDtype, mtp: "keep", allowUnmapped: [], step: 0 }).pipe(
    Effect.flatMap(({ run }) => run("/out", { overwrite: false, maxMemory: 1, concurrency: 1, ...options })),
    Effect.provide(Layer.succeed(Disk, disk ?? fs.calls))
  )
const run = (change?: Change) => Effect.runPromise(importing(change))
const isWhole = () => differences(fs.files("/out"), expected)
const beside = () => [...fs.files("/").keys()].filter((name) => /^\.[^/]*\/$/.test(name))

/** A disk on which the n-th write to a file of that name fails. */
const failing = (name: RegExp, nth: number, errno = "EIO") => {
  let count = 0
  return faultyDisk(fs.calls, ({ operation, path }) => (operation === "write" && name.test(path) && count++ >= nth ? { errno } : undefined))
}
/** Leave an import that wrote all but the last windows of its second file. */
const interrupt = async () => expect(run({ disk: failing(/__1_0/, 2) })).rejects.toMatchObject({ errno: "EIO" })

beforeAll(async () => {
  slow = hurry()
  model = new MemoryFileSystem()
  await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), "/hf").pipe(Effect.provide(Layer.succeed(Disk, model.calls))))
  fs = model.clone()
  await run()
  expected = fs.files("/out")
})
afterAll(() => slow())
beforeEach(() => { fs = model.clone() })

describe("after an I/O error", () => {
  it("nothing is published, and the error says what was kept and how to go on", async () => {
    await expect(run({ disk: failing(/__1_0/, 2) })).rejects.toThrow(/are done and kept in \/\.out\.partial: --resume goes on from there/)
    expect(fs.has("/out")).toBe(false)
    expect(beside()).toEqual([".out.partial/"])
  })

  it("--resume writes only what is missing", async () => {
    await interrupt()
    const disk = faultyDisk(fs.calls, () => undefined)
    const { notes } = await run({ disk, resume: true })
    expect(notes.join()).toMatch(/^resumed: 0\.\d MB that an interrupted run had written were checked/)
    expect(disk.made.filter((c) => c.operation === "write" && c.path.endsWith("__0_0.distcp"))).toEqual([])
    expect(isWhole()).toEqual([])
    expect(beside()).toEqual([])
  })

  it("with other settings too", async () => {
    await interrupt()
    await run({ resume: true, concurrency: 8, maxMemory: 100 << 20 })
    expect(isWhole()).toEqual([])
  })

  it("without --resume the work starts over, and what was left is removed and named", async () => {
    await interrupt()
    const { notes } = await run()
    expect(notes.join()).toMatch(/MB that an interrupted run.* had left were removed; --resume would have continued it/)
    expect(isWhole()).toEqual([])
    expect(beside()).toEqual([])
  })

  it("that came before anything was written, nothing is kept", async () => {
    await expect(run({ disk: failing(/__0_0/, 0) })).rejects.toMatchObject({ errno: "EIO" })
    expect(beside()).toEqual([])
  })
})

describe("--resume does not trust", () => {
  it.each([
    ["a block with one bit flipped", (bytes: Uint8Array) => {
      bytes[70_000]! ^= 1
      return bytes
    }],
    ["a block that was half written", (bytes: Uint8Array) => bytes.fill(0, 65536 + 1000, 131072)],
    ["a file that lost its end", (bytes: Uint8Array) => bytes.slice(0, 100_000)],
    ["a file that is longer than it should be", (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(5000, 1)])]
  ])("%s", async (_, damage) => {
    await interrupt()
    fs.edit("/.out.partial/data/iter_0000000/__0_0.distcp", damage)
    await run({ resume: true })
    expect(isWhole()).toEqual([])
  })

  it("a file that is gone", async () => {
    await interrupt()
    await fs.calls.remove("/.out.partial/data/iter_0000000/__0_0.distcp")
    await run({ resume: true })
    expect(isWhole()).toEqual([])
  })

  it("files that are not of the job", async () => {
    await interrupt()
    const file = await fs.calls.open("/.out.partial/data/iter_0000000/stranger", "create")
    await file.close()
    await run({ resume: true })
    expect(isWhole()).toEqual([])
  })

  it("a source that changed: refused, the work kept", async () => {
    await interrupt()
    fs.edit("/hf/model-00002-of-00003.safetensors", (bytes) => bytes)
    await expect(run({ resume: true })).rejects.toMatchObject({ code: "output/other-job", exitCode: 5 })
    await expect(run({ resume: true })).rejects.toThrow("model-00002-of-00003.safetensors of the model changed since")
    expect(beside()).toEqual([".out.partial/"])
  })

  it("a source that was rewritten in place, its time put back: refused", async () => {
    await interrupt()
    fs.edit(SHARD, flipped, { keepTime: true })
    await expect(run({ resume: true })).rejects.toThrow("model-00001-of-00003.safetensors of the model changed since")
  })

  it("another config.json, or other options", async () => {
    await interrupt()
    await expect(run({ resume: true, torchDtype: "float32" })).rejects.toThrow("the options")
    fs.edit("/hf/config.json", (bytes) => Buffer.concat([bytes, Buffer.from("\n")]))
    await expect(run({ resume: true })).rejects.toThrow("config.json changed since")
  })
})

describe("--resume of", () => {
  it("finished work says so and writes nothing", async () => {
    await run()
    const disk = faultyDisk(fs.calls, () => undefined)
    const { notes } = await run({ disk, resume: true })
    expect(notes).toContain("/out was already complete; nothing was written")
    expect(disk.made.filter((c) => c.operation === "write")).toEqual([])
  })

  it("finished work says what was compared", async () => {
    await run()
    expect((await run({ resume: true })).notes.join()).toMatch(/compared: 0\.7 MB that the sources give now with the checksums/)
  })

  it("finished work is no other because somebody touched a source", async () => {
    await run()
    fs.edit(SHARD, (bytes) => bytes)
    expect((await run({ resume: true })).notes).toContain("/out was already complete; nothing was written")
  })

  it.each([false, true])("finished work whose source has other content since is refused, its time put back: %s", async (keepTime) => {
    await run()
    fs.edit(SHARD, flipped, { keepTime })
    await expect(run({ resume: true })).rejects.toMatchObject({ code: "output/exists" })
    await expect(run({ resume: true })).rejects.toThrow(/the sources give another __\d_0\.distcp than the one there/)
    expect(isWhole()).toEqual([])
    await run({ resume: true, overwrite: true })
    expect(isWhole()).not.toEqual([])
  })

  it("finished work whose tokenizer is another is refused", async () => {
    await run()
    expect((await run({ resume: true })).notes).toContain("/out was already complete; nothing was written")
    fs.edit("/hf/tokenizer.json", () => Buffer.from("[]"), { keepTime: true })
    await expect(run({ resume: true })).rejects.toMatchObject({ code: "output/exists" })
  })

  it("finished work that lost a file is refused", async () => {
    await run()
    await fs.calls.remove("/out/iter_0000000/__1_0.distcp")
    await expect(run({ resume: true })).rejects.toMatchObject({ code: "output/exists" })
  })

  it("nothing begins, and says so", async () => {
    expect((await run({ resume: true })).notes).toContain("there was nothing to resume; the work started from the beginning")
    expect(isWhole()).toEqual([])
  })
})

describe("while the work goes on", () => {
  /** Do something when the last payload file is begun: every source has been read by then, or nearly. */
  const late = (act: () => void) => {
    let done = false
    return faultyDisk(fs.calls, ({ operation, path }) => {
      if (!done && operation === "create" && path.endsWith(".metadata")) {
        done = true
        act()
      }
      return undefined
    })
  }

  it("a source rewritten in place is noticed, its time put back or not", async () => {
    for (const keepTime of [false, true]) {
      fs = model.clone()
      await expect(run({ disk: late(() => fs.edit(SHARD, flipped, { keepTime })) })).rejects.toMatchObject({ code: "source/changed" })
      expect([fs.has("/out"), beside()]).toEqual([false, []])
    }
  })

  it("a source that is cut short or removed before it is read is noticed", async () => {
    const acts = [() => fs.edit(SHARD, (bytes) => bytes.slice(0, bytes.byteLength - 1000)), () => void fs.calls.remove(SHARD)]
    for (const act of acts) {
      fs = model.clone()
      let done = false
      const disk = faultyDisk(fs.calls, ({ operation, path }) => {
        if (!done && operation === "create" && path.endsWith("journal")) {
          done = true
          act()
        }
        return undefined
      })
      await expect(run({ disk })).rejects.toMatchObject({ code: "source/changed", exitCode: 3 })
      expect([fs.has("/out"), beside()]).toEqual([false, []])
    }
  })

  it("a source that got a link or another mode is still the same", async () => {
    await run({ disk: late(() => fs.edit(SHARD, (bytes) => bytes, { keepTime: true })) })
    expect(isWhole()).toEqual([])
  })

  it("a source that is removed, another config.json and another tokenizer are noticed", async () => {
    const acts = [
      () => void fs.calls.remove(SHARD),
      () => fs.edit("/hf/config.json", (bytes) => Buffer.concat([bytes, Buffer.from("\n")]), { keepTime: true }),
      () => fs.edit("/hf/tokenizer.json", () => Buffer.from("[]"), { keepTime: true })
    ]
    for (const act of acts) {
      fs = model.clone()
      await expect(run({ disk: late(act) })).rejects.toMatchObject({ code: "source/changed", exitCode: 3 })
      expect([fs.has("/out"), beside()]).toEqual([false, []])
    }
  })
})

describe("an interruption", () => {
  it("keeps what is done, tells, and closes everything", async () => {
    const kept: Array<string> = []
    const disk = faultyDisk(fs.calls, ({ operation, path }) => {
      if (operation === "write" && path.endsWith("__1_0.distcp")) setTimeout(() => { interruption ??= Effect.runPromise(Fiber.interrupt(fiber)) }, 0)
      return undefined
    })
    let interruption: Promise<unknown> | undefined
    // Slowly, so that the interruption finds it at work.
    const patient: DiskCalls = { ...disk, open: async (...args) => {
      const file = await disk.open(...args)
      return { ...file, write: async (from, position) => (await new Promise((resolve) => setTimeout(resolve, 2)), file.write(from, position)) }
    } }
    const fiber = Effect.runFork(importing({ disk: patient, onKept: (text) => kept.push(text) }))
    await Effect.runPromise(Effect.exit(Fiber.join(fiber)))
    await interruption
    expect(kept.join()).toContain("--resume goes on from there")
    expect(disk.opened()).toEqual([])
    expect(fs.has("/out")).toBe(false)
    await run({ resume: true })
    expect(isWhole()).toEqual([])
  })
})

describe("two runs on one target", () => {
  it("at once: the second is refused, the first goes on", async () => {
    const [a, b] = await Promise.allSettled([run(), run()])
    expect([a.status, b.status].sort()).toEqual(["fulfilled", "rejected"])
    expect((a.status === "rejected" ? a : b) as PromiseRejectedResult).toMatchObject({ reason: { code: "output/locked" } })
    expect(isWhole()).toEqual([])
  })
})

describe("--overwrite", () => {
  it("replaces the target when the new one is complete", async () => {
    await run({ torchDtype: "float32" })
    const former = fs.files("/out")
    await expect(run({ overwrite: true, disk: failing(/__1_0/, 2) })).rejects.toMatchObject({ errno: "EIO" })
    expect(differences(fs.files("/out"), former)).toEqual([])
    await run({ overwrite: true, resume: true })
    expect(isWhole()).toEqual([])
    expect(beside()).toEqual([])
  })

  it("that a crash cut in two is finished by the next command that opens the target", async () => {
    await run({ torchDtype: "float32" })
    let dead = false
    const disk = faultyDisk(fs.calls, ({ operation, path }) => {
      dead ||= operation === "rename" && path === "/out"
      return dead ? { errno: "EIO" } : undefined
    })
    await expect(run({ overwrite: true, disk })).rejects.toMatchObject({ errno: "EIO" })
    expect(fs.has("/out")).toBe(false)
    const checkpoint = await Effect.runPromise(openCheckpoint("/out/iter_0000000").pipe(Effect.provide(Layer.succeed(Disk, fs.calls))))
    expect(checkpoint.tensors.size).toBeGreaterThan(5)
    expect(isWhole()).toEqual([])
    expect(beside()).toEqual([])
  })

  it("does not replace what is no checkpoint", async () => {
    await fs.calls.makeDirectory("/out")
    await fs.calls.makeDirectory("/out/thesis")
    await expect(run({ overwrite: true })).rejects.toThrow("it does not look like a checkpoint, so --overwrite does not replace it")
  })

  it("does not replace other iterations", async () => {
    await run()
    await fs.calls.makeDirectory("/out/iter_0005000")
    await expect(run({ overwrite: true })).rejects.toThrow("it holds iter_0005000 of a training run")
  })

  it("does not replace the source", async () => {
    await run()
    const exporting = prepareExport(families, "/hf", "/out", { torchDtype: "source", mtp: "keep", allowUnmapped: [] }).pipe(
      Effect.flatMap((e) => e.run("/hf", { overwrite: true })),
      Effect.provide(Layer.succeed(Disk, fs.calls))
    )
    await expect(Effect.runPromise(exporting)).rejects.toMatchObject({ code: "output/holds-source" })
  })
})

it("a folder that must not be written into is named, with why it would be", async () => {
  const disk = faultyDisk(fs.calls, ({ operation }) => (operation === "makeDirectory" ? { errno: "EROFS" } : undefined))
  await expect(run({ disk })).rejects.toThrow("/: the file system is read-only (makeDirectory failed with EROFS)\n  The new directory comes to be beside the target")
})

describe("a full disk", () => {
  it("is noticed before anything is written", async () => {
    fs.free = 1e6
    await expect(run()).rejects.toMatchObject({ _tag: "NoSpace", free: 1e6, exitCode: 6 })
    expect(beside()).toEqual([])
  })

  it("that was freed lets the work go on", async () => {
    await expect(run({ disk: failing(/__1_0/, 1, "EDQUOT") })).rejects.toThrow(/the file system \(or the quota\) is full\n.*--resume goes on/)
    await run({ resume: true })
    expect(isWhole()).toEqual([])
  })
})
