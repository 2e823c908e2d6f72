/** Names of models: directories, folders of the Hub's cache, Hub ids. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { nodeCalls } from "../../src/io/Disk.ts"
import { hubCacheDirectory } from "../../src/remote/environment.ts"
import { modelDirectory } from "../../src/remote/names.ts"

const work = mkdtempSync(join(tmpdir(), "hub-cache-"))
afterAll(() => rmSync(work, { recursive: true }))

const COMMIT = "0123456789abcdef0123456789abcdef01234567"
const cache = join(work, "hub")
const repository = join(cache, "models--org--model-1.5")
const snapshot = join(repository, "snapshots", COMMIT)
mkdirSync(snapshot, { recursive: true })
mkdirSync(join(repository, "refs", "release"), { recursive: true })
mkdirSync(join(repository, "blobs"))
writeFileSync(join(repository, "refs", "main"), COMMIT)
writeFileSync(join(repository, "refs", "release", "1"), `${COMMIT}\n`)
writeFileSync(join(repository, "blobs", "abc"), "{}")
symlinkSync("../../blobs/abc", join(snapshot, "config.json"))
const env = { HF_HUB_CACHE: cache, HF_HUB_OFFLINE: "1" }
const find = (name: string, revision?: string) => modelDirectory(nodeCalls, name, revision, env)

describe("where the cache is", () => {
  it.each([
    [{ HF_HUB_CACHE: "/a", HF_HOME: "/b" }, "/a"],
    [{ HF_HOME: "/b" }, "/b/hub"],
    [{ XDG_CACHE_HOME: "/c" }, "/c/huggingface/hub"]
  ])("%j: %s", (variables, directory) => expect(hubCacheDirectory(variables)).toBe(directory))
})

describe("a model's name", () => {
  it("is a directory, as it is", async () => expect(await find(work)).toBe(work))
  it("is a Hub id in the cache", async () => expect(await find("org/model-1.5")).toBe(snapshot))
  it("has a revision: branch, nested branch, commit", async () => {
    for (const revision of ["main", "release/1", COMMIT]) expect(await find("org/model-1.5", revision)).toBe(snapshot)
  })
  it("is a repository's folder in the cache", async () => {
    expect(await find(repository)).toBe(snapshot)
    expect(await find(repository, "release/1")).toBe(snapshot)
  })
  it("that is nowhere says what was looked at and how to fetch it", async () => {
    await expect(find("org/other", "v2")).rejects.toThrow(`${join(cache, "models--org--other")} (revision v2).\n  hf download org/other --revision v2 fetches it`)
  })
  it("that is a path is left to whoever opens it", async () => {
    for (const name of ["./nowhere", "/no/where", "a/b/c", "..", ".", join(work, "absent")]) expect(await find(name)).toBe(name)
  })
  it("a revision leads out of no folder, and a directory has none", async () => {
    for (const revision of ["../../x", "/etc", "a..b", ""]) await expect(find("org/model-1.5", revision)).rejects.toThrow("is no branch, tag or commit")
    await expect(find(work, "main")).rejects.toThrow("which has no revisions")
  })
  it("a ref that holds no commit is named", async () => {
    writeFileSync(join(repository, "refs", "bad"), "../../../etc")
    await expect(find("org/model-1.5", "bad")).rejects.toMatchObject({ code: "hub/ref" })
  })
})
