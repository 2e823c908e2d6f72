/** What file systems that several hosts share do otherwise than local ones. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { nodeCalls } from "../../src/io/Disk.ts"
import { awaitingNames, withoutDirectorySync } from "../../src/io/shared.ts"
import { refusing } from "../cluster/harness/disks.ts"

const work = mkdtempSync(join(tmpdir(), "shared-"))
const inside = join(work, "staging", "file")
beforeAll(async () => {
  await nodeCalls.makeDirectory(join(work, "staging"))
  writeFileSync(join(work, "beside"), "")
})
afterAll(() => rmSync(work, { recursive: true }))

describe("fsync of a directory", () => {
  it.each(["EINVAL", "ENOTSUP", "EOPNOTSUPP"])("that answers %s is done without, with a note", async (errno) => {
    const notes = new Set<string>()
    const disk = withoutDirectorySync({ ...nodeCalls, syncDirectory: (path) => refusing(path, "fsync", errno) }, (text) => notes.add(text))
    await disk.syncDirectory(work)
    await disk.syncDirectory(work)
    expect([...notes]).toEqual([expect.stringContaining("fsync of a directory")])
  })

  it("that fails otherwise fails", async () => {
    const disk = withoutDirectorySync({ ...nodeCalls, syncDirectory: (path) => refusing(path, "fsync", "EIO") }, () => {})
    await expect(disk.syncDirectory(work)).rejects.toMatchObject({ code: "io/EIO" })
  })
})

describe("a name that another host has put there", () => {
  it("is waited for", async () => {
    setTimeout(() => writeFileSync(inside, "here"), 100)
    const disk = awaitingNames(nodeCalls, join(work, "staging"), () => false)
    expect((await disk.stat(inside)).size).toBe(4)
  })

  it("is not waited for beyond measure, nor in vain, nor elsewhere", async () => {
    const missing = join(work, "staging", "never")
    await expect(awaitingNames(nodeCalls, join(work, "staging"), () => false, 50).open(missing, "read")).rejects.toMatchObject({ code: "io/ENOENT" })
    let looks = 0
    await expect(awaitingNames(nodeCalls, join(work, "staging"), () => looks++ === 2).open(missing, "read")).rejects.toMatchObject({ code: "io/ENOENT" })
    const counted = { ...nodeCalls, lstat: (path: string) => { looks++; return nodeCalls.lstat(path) } }
    looks = 0
    await expect(awaitingNames(counted, join(work, "staging"), () => false).lstat(join(work, "elsewhere"))).rejects.toMatchObject({ code: "io/ENOENT" })
    expect(looks).toBe(1)
  })
})
