/** A lock that a crash releases, and that two processes cannot both get. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { hostname } from "node:os"
import { describe, expect, it } from "vitest"
import { faultyDisk } from "../../src/io/FaultyDisk.ts"
import { type Owner, thisProcess } from "../../src/io/owner.ts"
import { acquireLock, holderOf } from "../../src/io/staging/Lock.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"

const FOLDER = "/.out.partial"
const take = (fs: MemoryFileSystem) => acquireLock(fs.calls, FOLDER, "/out")

/** A folder locked by somebody else. */
const lockedBy = async (owner: Partial<Owner>): Promise<MemoryFileSystem> => {
  const fs = new MemoryFileSystem()
  await fs.calls.makeDirectory(FOLDER)
  const file = await fs.calls.open(`${FOLDER}/lock.1`, "create")
  await file.write(Buffer.from(JSON.stringify({ ...thisProcess(), ...owner })), 0)
  await file.close()
  return fs
}

/** A process that has ended. */
const deadProcess = async (): Promise<number> => {
  const child = spawn(process.execPath, ["--version"], { stdio: "ignore" })
  await once(child, "exit")
  return child.pid!
}

describe("a lock", () => {
  it("is refused to a second taker, who is told who has it", async () => {
    const fs = new MemoryFileSystem()
    const lock = await take(fs)
    await expect(take(fs)).rejects.toMatchObject({ code: "output/locked", exitCode: 5, problem: "this process is already writing it" })
    expect(await holderOf(fs.calls, FOLDER)).toMatchObject({ pid: process.pid, nonce: lock.owner.nonce })
    await lock.release()
    expect(await holderOf(fs.calls, FOLDER)).toBeUndefined()
    expect((await take(fs)).fresh).toBe(false)
  })

  it("names the process, the host and the time", async () => {
    // The parent of this process runs as long as this does.
    const since = "2031-02-03T04:05:06.000Z"
    const fs = await lockedBy({ pid: process.ppid, start: startOf(process.ppid), since })
    await expect(take(fs)).rejects.toThrow(`/out: process ${process.ppid} on ${hostname()} has been writing it since ${since}`)
  })

  it("of a process that has ended is taken over, and its holder reported", async () => {
    const pid = await deadProcess()
    const lock = await take(await lockedBy({ pid }))
    expect(lock).toMatchObject({ fresh: false, previous: { pid } })
  })

  it("of a process whose number was given to another is taken over", async () => {
    expect((await take(await lockedBy({ pid: process.ppid, start: "1" }))).previous?.start).toBe("1")
  })

  it("of before the last boot is taken over", async () => {
    expect((await take(await lockedBy({ pid: process.ppid, start: startOf(process.ppid), boot: "another" }))).previous?.boot).toBe("another")
  })

  it("of another host stands, for nobody here can tell", async () => {
    const fs = await lockedBy({ host: "elsewhere" })
    await expect(take(fs)).rejects.toThrow("If it is gone, remove /.out.partial.")
  })

  it("that a crash left unreadable is taken over", async () => {
    const fs = await lockedBy({})
    fs.edit(`${FOLDER}/lock.1`, () => new Uint8Array(0))
    expect((await take(fs)).previous).toBeUndefined()
  })

  it("goes to one of many that find the same dead holder", async () => {
    const fs = await lockedBy({ pid: await deadProcess() })
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => take(fs)))
    expect(results.filter((r) => r.status === "fulfilled")).toHaveLength(1)
    for (const r of results) if (r.status === "rejected") expect(r.reason).toMatchObject({ code: "output/locked" })
  })

  it("needs no hard links", async () => {
    const fs = new MemoryFileSystem()
    const disk = faultyDisk(fs.calls, ({ operation }) => (operation === "link" ? { errno: "EPERM" } : undefined))
    await acquireLock(disk, FOLDER, "/out")
    await expect(take(fs)).rejects.toMatchObject({ code: "output/locked" })
  })

  it("leaves no folder behind if it cannot be taken", async () => {
    const fs = new MemoryFileSystem()
    const disk = faultyDisk(fs.calls, ({ operation }) => (operation === "link" ? { errno: "EIO" } : undefined))
    await expect(acquireLock(disk, FOLDER, "/out")).rejects.toMatchObject({ errno: "EIO" })
    expect(fs.has(FOLDER)).toBe(false)
  })
})

/** proc(5): field 22, counted behind the command's name. */
function startOf(pid: number): string {
  return readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)!.split(" ")[19]!
}
