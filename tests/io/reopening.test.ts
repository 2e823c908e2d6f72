/** Handles that go stale (NFS), at any call that looks or reads. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { nodeCalls } from "../../src/io/Disk.ts"
import { reopening } from "../../src/io/reopening.ts"
import { type Call, faultyDisk } from "../torture/FaultyDisk.ts"

const work = mkdtempSync(join(tmpdir(), "reopening-"))
const path = join(work, "file")
beforeAll(() => writeFileSync(path, "content"))
afterAll(() => rmSync(work, { recursive: true }))

/** The first so many calls of a kind meet a stale handle. */
const stale = (operation: Call["operation"], times: number) => {
  let met = 0
  const faulty = faultyDisk(nodeCalls, (call) => (call.operation === operation && met++ < times ? { errno: "ESTALE" } : undefined))
  return { faulty, disk: reopening(faulty) }
}

describe("a stale handle", () => {
  it.each(["stat", "lstat", "list", "realpath"] as const)("at %s: it is looked at again, three times in all", async (operation) => {
    const place = operation === "list" ? work : path
    const expected = await nodeCalls[operation](place)
    expect(await stale(operation, 2).disk[operation](place)).toEqual(expected)
    await expect(stale(operation, 3).disk[operation](place)).rejects.toMatchObject({ code: "io/ESTALE" })
  })

  it.each(["open", "read", "info"] as const)("at %s of a file: it is opened again from its path", async (operation) => {
    const { disk, faulty } = stale(operation, 2)
    const file = await disk.open(path, "read")
    const into = new Uint8Array(7)
    expect([await file.read(into, 0), Buffer.from(into).toString(), (await file.info()).size]).toEqual([7, "content", 7])
    await file.close()
    expect(faulty.opened()).toEqual([])
  })

  it("met by several reads at once is replaced once", async () => {
    const { disk, faulty } = stale("read", 4)
    const file = await disk.open(path, "read")
    expect(await Promise.all([0, 1, 2, 3].map((at) => file.read(new Uint8Array(1), at)))).toEqual([1, 1, 1, 1])
    await file.close()
    expect(faulty.made.filter(({ operation }) => operation === "open")).toHaveLength(2)
    expect(faulty.opened()).toEqual([])
  })

  it("of a file that is written is an error: nobody knows what became of the bytes", async () => {
    const { disk } = stale("write", 1)
    const file = await disk.open(path, "readwrite")
    await expect(file.write(Buffer.from("x"), 0)).rejects.toMatchObject({ code: "io/ESTALE" })
    await file.close()
  })
})
