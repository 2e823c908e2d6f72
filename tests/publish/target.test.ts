/** Where something may be published, and where not. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { nodeCalls } from "../../src/io/Disk.ts"
import { checkTarget, findTarget, makeParents, removeParents } from "../../src/publish/staging/target.ts"
import { stagingOf } from "../../src/publish/staging/names.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"

const work = realpathSync(mkdtempSync(join(tmpdir(), "target-")))
afterAll(() => rmSync(work, { recursive: true }))
const at = (name: string) => join(work, name)
const find = (path: string) => findTarget(nodeCalls, path)
const anything = { overwrite: true, sources: [], notReplaceable: () => undefined }

describe("a target", () => {
  it("may be absent, or an empty directory", async () => {
    mkdirSync(at("empty"))
    expect(await find(at("absent"))).toMatchObject({ path: at("absent"), state: "absent" })
    expect(await find(at("empty"))).toMatchObject({ path: at("empty"), state: "empty" })
  })

  it("that is a link to a directory is what the link leads to", async () => {
    mkdirSync(at("real"))
    symlinkSync("real", at("link"))
    expect(await find(at("link"))).toMatchObject({ path: at("real"), shown: at("link") })
  })

  it.each([
    ["a file", () => writeFileSync(at("file"), "x"), "file", "not-a-directory"],
    ["a link to a file", () => symlinkSync("file", at("file-link")), "file-link", "not-a-directory"],
    ["a link to nothing", () => symlinkSync("nowhere", at("dangling")), "dangling", "dangling-link"]
  ])("must not be %s", async (_, make, name, code) => {
    make()
    await expect(find(at(name))).rejects.toMatchObject({ code: `output/${code}`, exitCode: 5 })
  })

  it("must not be a mount point or the root: nothing can be renamed over them", async () => {
    await expect(find("/proc")).rejects.toMatchObject({ code: "output/mount-point" })
    await expect(find("/")).rejects.toMatchObject({ code: "output/mount-point" })
  })

  it("that has content is refused, and replaced only on demand", async () => {
    mkdirSync(at("full"))
    writeFileSync(at("full/config.json"), "{}")
    const target = await find(at("full"))
    await expect(checkTarget(nodeCalls, target, { ...anything, overwrite: false })).rejects.toMatchObject({ code: "output/exists" })
    await checkTarget(nodeCalls, target, anything)
    await expect(checkTarget(nodeCalls, target, { ...anything, notReplaceable: () => "it is somebody's thesis" }))
      .rejects.toThrow("it is somebody's thesis, so --overwrite does not replace it")
  })

  it("must not be or hold a source", async () => {
    mkdirSync(at("tree/source"), { recursive: true })
    for (const source of [at("tree"), at("tree/source")]) {
      await expect(checkTarget(nodeCalls, await find(at("tree")), { ...anything, sources: [source] })).rejects.toMatchObject({ code: "output/holds-source" })
    }
  })

  it("must not lie inside a source, whatever links lead there", async () => {
    symlinkSync("tree", at("alias"))
    for (const target of [at("tree/out"), at("tree/source/deep/out"), at("alias/out")]) {
      await expect(checkTarget(nodeCalls, await find(target), { ...anything, sources: [at("tree")] })).rejects.toMatchObject({ code: "output/inside-source" })
    }
    await checkTarget(nodeCalls, await find(at("beside")), { ...anything, sources: [at("tree")] })
  })
})

describe("directories above a target", () => {
  it("are made, and removed again if they stay empty", async () => {
    const made = await makeParents(nodeCalls, await find(at("a/b/out")))
    expect(made).toEqual([at("a"), at("a/b")])
    writeFileSync(at("a/kept"), "")
    await removeParents(nodeCalls, made)
    expect((await find(at("a"))).names).toEqual(["kept"])
  })

  it("must be directories", async () => {
    writeFileSync(at("plain"), "")
    await expect(makeParents(nodeCalls, { shown: "", path: at("plain/out"), state: "absent", names: [] })).rejects.toMatchObject({ code: "output/not-a-directory" })
  })

  it("are durable one after the other", async () => {
    const fs = new MemoryFileSystem()
    await makeParents(fs.calls, { shown: "", path: "/a/b/out", state: "absent", names: [] })
    const random = () => 0.99
    expect(fs.image("unordered", random).has("/a/b")).toBe(true)
  })
})

it("a name too long for dots and suffixes gets a staging folder all the same", () => {
  expect(Buffer.byteLength(stagingOf(`/out/${"ü".repeat(120)}`))).toBeLessThan(255)
  expect(stagingOf("/out/x")).toBe("/out/.x.partial")
})
