/** Other programs at the target and at the staging folder: what is theirs stays theirs, and what was done is kept. */
import { Effect, Layer } from "effect"
import { beforeAll, beforeEach, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import type { RunOptions } from "../../src/convert/produce.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { Disk, type DiskCalls } from "../../src/io/Disk.ts"
import { type Call, faultyDisk } from "../torture/FaultyDisk.ts"
import { thisProcess } from "../../src/publish/staging/owner.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { loadCase } from "../conformance/cases.ts"
import { differences } from "../torture/checks.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"

let model: MemoryFileSystem
let expected: ReadonlyMap<string, Uint8Array>
let fs: MemoryFileSystem

const run = (tp: number, options: Partial<RunOptions> = {}, disk: DiskCalls = fs.calls) =>
  Effect.runPromise(
    prepareImport(families, "/hf", { form: "standard", layout: () => standardLayout({ tp }), torchDtype: "source", mtp: "keep", allowUnmapped: [], step: 0 }).pipe(
      Effect.flatMap(({ run: go }) => go("/out", { overwrite: false, maxMemory: 1, concurrency: 1, ...options })),
      Effect.provide(Layer.succeed(Disk, disk))
    )
  )

const put = async (path: string, text = "theirs") => {
  const file = await fs.calls.open(path, "create")
  await file.write(Buffer.from(text), 0)
  await file.close()
}
const textAt = (path: string) => Buffer.from(fs.files("/").get(path.slice(1)) ?? []).toString()

/** Something that happens once, before the first call that is meant. */
const when = (isMeant: (call: Call) => boolean, act: () => void) => {
  let acted = false
  return faultyDisk(fs.calls, (call) => {
    if (!acted && isMeant(call)) {
      acted = true
      act()
    }
    return undefined
  })
}
const midway = ({ operation, path }: Call) => operation === "write" && path.endsWith("__1_0.distcp")

beforeAll(async () => {
  model = new MemoryFileSystem()
  await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), "/hf").pipe(Effect.provide(Layer.succeed(Disk, model.calls))))
  fs = model.clone()
  await run(2)
  expected = fs.files("/out")
})
beforeEach(() => { fs = model.clone() })

describe("--overwrite", () => {
  beforeEach(async () => { await run(1) })

  const addIteration = () => {
    void fs.calls.makeDirectory("/out/iter_0000100")
    void put("/out/iter_0000100/model")
    fs.edit("/out/latest_checkpointed_iteration.txt", () => Buffer.from("100"))
  }

  it("does not replace what came to be in the target while the work went on; what was done is kept", async () => {
    await expect(run(2, { overwrite: true }, when(midway, addIteration))).rejects.toMatchObject({
      code: "output/changed",
      exitCode: 5,
      problem: expect.stringContaining("iter_0000100 came to be in it (it holds iter_0000100 of a training run)"),
      hint: expect.stringContaining("are done and kept in /.out.partial: --resume goes on from there")
    })
    expect([textAt("/out/iter_0000100/model"), textAt("/out/latest_checkpointed_iteration.txt")]).toEqual(["theirs", "100"])
    await expect(run(2, { overwrite: true, resume: true })).rejects.toMatchObject({ code: "output/not-replaceable" })
    expect(textAt("/out/iter_0000100/model")).toBe("theirs")
  })

  it("does not replace another directory that took the target's place", async () => {
    await expect(run(2, { overwrite: true }, when(midway, () => {
      void fs.calls.rename("/out", "/aside")
      void fs.calls.makeDirectory("/out")
      void put("/out/config.json")
    }))).rejects.toMatchObject({ code: "output/changed", problem: expect.stringContaining("another directory was put there") })
    expect([textAt("/out/config.json"), fs.has("/aside/iter_0000000")]).toEqual(["theirs", true])
    // Told to, it does: nothing has to be done again.
    await run(2, { overwrite: true, resume: true })
    expect(differences(fs.files("/out"), expected)).toEqual([])
  })

  it("does not replace a target in which a file was written anew", async () => {
    const act = () => fs.edit("/out/iter_0000000/__0_0.distcp", (bytes) => bytes.fill(7))
    await expect(run(2, { overwrite: true }, when(midway, act))).rejects.toMatchObject({ problem: expect.stringContaining("files in it were changed") })
  })
})

describe("a target that was free", () => {
  it("and is no more is left alone, a link to somebody's data too", async () => {
    await fs.calls.makeDirectory("/theirs")
    await put("/theirs/model")
    await expect(run(2, {}, when(midway, () => fs.symlink("/theirs", "/out")))).rejects.toMatchObject({ code: "output/changed" })
    expect([...fs.files("/theirs").keys()]).toEqual(["model"])
  })
})

describe("a staging folder that is not ours", () => {
  it.each([
    ["a link to somebody's folder", async () => {
      await fs.calls.makeDirectory("/victim")
      await fs.calls.makeDirectory("/victim/data")
      await put("/victim/data/model")
      fs.symlink("/victim", "/.out.partial")
    }, "is a symbolic link", "/victim/data/model"],
    ["a stranger's folder", async () => {
      await fs.calls.makeDirectory("/.out.partial")
      await fs.calls.makeDirectory("/.out.partial/data")
      await put("/.out.partial/data/model")
    }, "was not made by this version", "/.out.partial/data/model"],
    ["a folder with a forged marker", async () => {
      await fs.calls.makeDirectory("/.out.partial")
      await put("/.out.partial/staging.json", "{}")
    }, "was not made by this version", "/.out.partial/staging.json"],
    ["a file", async () => put("/.out.partial"), "is not a directory", "/.out.partial"]
  ] as const)("%s is refused, neither followed nor emptied", async (_, make, why, kept) => {
    await make()
    const before = fs.files("/")
    for (const options of [{}, { resume: true }, { overwrite: true }]) {
      await expect(run(2, options)).rejects.toMatchObject({ code: "output/foreign-staging", problem: expect.stringContaining(why) })
    }
    expect(fs.files("/")).toEqual(before)
    expect(fs.files("/").has(kept.slice(1))).toBe(true)
  })

  it.each(["journal", "lock.7", "commit", "replaced", "data"])("is also one in which %s is a link", async (name) => {
    await expect(run(2, {}, faultyDisk(fs.calls, (call) => (midway(call) ? { errno: "EIO" } : undefined)))).rejects.toMatchObject({ errno: "EIO" })
    await fs.calls.makeDirectory("/victim")
    await put("/victim/model")
    if (fs.has(`/.out.partial/${name}`)) await fs.calls.rename(`/.out.partial/${name}`, "/aside")
    fs.symlink("/victim", `/.out.partial/${name}`)
    for (const resume of [true, false]) {
      await expect(run(2, { resume })).rejects.toMatchObject({ code: "output/foreign-staging", problem: expect.stringContaining(`holds ${name} as a symbolic link`) })
    }
    expect(textAt("/victim/model")).toBe("theirs")
  })

  it("is also one by the name of a folder that was given up: it stays", async () => {
    const name = ".out.discarded.00000000-0000-0000-0000-000000000000"
    await fs.calls.makeDirectory(`/${name}`)
    await put(`/${name}/model`)
    await fs.calls.makeDirectory("/victim")
    await put("/victim/model")
    fs.symlink("/victim", `/${name.replace(/0$/, "1")}`)
    await run(2)
    expect([textAt(`/${name}/model`), textAt("/victim/model")]).toEqual(["theirs", "theirs"])
  })

  it("that is only empty is in nobody's way", async () => {
    await fs.calls.makeDirectory("/.out.partial")
    await run(2)
    expect(differences(fs.files("/out"), expected)).toEqual([])
    expect(fs.has("/.out.partial")).toBe(false)
  })
})

describe("a second process that took the lock of a live one", () => {
  /** As a process in another PID namespace would, that believes this one to be dead. */
  const steal = () => { void put("/.out.partial/lock.2", `${JSON.stringify({ ...thisProcess(), namespace: "pid:[1]" })}\n000000000000\n`) }

  it("keeps it: the first one publishes nothing, and leaves the folder to the second", async () => {
    await expect(run(2, {}, when(midway, steal))).rejects.toMatchObject({ code: "output/lock-lost", exitCode: 5 })
    expect(fs.has("/out")).toBe(false)
    expect(fs.has("/.out.partial/lock.2")).toBe(true)
    expect(fs.has("/.out.partial/data/iter_0000000/__0_0.distcp")).toBe(true)
  })

  it("also if it has thrown the first one's work away and begun its own", async () => {
    await expect(run(2, {}, when(midway, () => {
      steal()
      void fs.calls.removeTree("/.out.partial/data")
      void fs.calls.makeDirectory("/.out.partial/data")
    }))).rejects.toMatchObject({ exitCode: expect.toBeOneOf([5, 7]) })
    expect([fs.has("/out"), fs.has("/.out.partial/data")]).toEqual([false, true])
  })
})
