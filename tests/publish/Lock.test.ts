/** A lock that a crash releases, and that two processes cannot both get. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { hostname } from "node:os"
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest"
import { faultyDisk } from "../torture/FaultyDisk.ts"
import { type Owner, thisProcess } from "../../src/publish/staging/owner.ts"
import { createFolder } from "../../src/publish/staging/folder.ts"
import { awaitSilence, BEAT_MS, holderOf, Lock, SILENCE_MS } from "../../src/publish/staging/Lock.ts"
import { MemoryFileSystem } from "../torture/MemoryFileSystem.ts"

const FOLDER = "/.out.partial"
const take = (fs: MemoryFileSystem) => Lock.acquire(fs.calls, FOLDER, "/out")

/** A folder locked by somebody else. */
const lockedBy = async (owner: Partial<Owner>): Promise<MemoryFileSystem> => {
  const fs = new MemoryFileSystem()
  await createFolder(fs.calls, FOLDER)
  const file = await fs.calls.open(`${FOLDER}/lock.1`, "create")
  await file.write(Buffer.from(`${JSON.stringify({ ...thisProcess(), ...owner })}\n000000000007\n`), 0)
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

  it("goes to one of many that find the same dead holder", async () => {
    const fs = await lockedBy({ pid: await deadProcess() })
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => take(fs)))
    expect(results.filter((r) => r.status === "fulfilled")).toHaveLength(1)
    for (const r of results) if (r.status === "rejected") expect(r.reason).toMatchObject({ code: "output/locked" })
  })

  it("needs no hard links", async () => {
    const fs = new MemoryFileSystem()
    const disk = faultyDisk(fs.calls, ({ operation }) => (operation === "link" ? { errno: "EPERM" } : undefined))
    await Lock.acquire(disk, FOLDER, "/out")
    await expect(take(fs)).rejects.toMatchObject({ code: "output/locked" })
  })

  it("leaves no folder behind if it cannot be taken", async () => {
    const fs = new MemoryFileSystem()
    const disk = faultyDisk(fs.calls, ({ operation }) => (operation === "link" ? { errno: "EIO" } : undefined))
    await expect(Lock.acquire(disk, FOLDER, "/out")).rejects.toMatchObject({ errno: "EIO" })
    expect(fs.has(FOLDER)).toBe(false)
  })
})

describe("a holder of which nobody here can tell whether it runs", () => {
  const strangers: ReadonlyArray<readonly [string, Partial<Owner>]> = [
    ["on another host", { host: "elsewhere", boot: "another" }],
    ["of another boot under the same host name", { boot: "another" }],
    ["in another PID namespace under the same host name", { namespace: "pid:[1]" }],
    ["whose /proc was of another namespace", { namespace: "" }]
  ]
  beforeEach(() => { vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "clearTimeout", "clearInterval"] }) })
  afterEach(() => { vi.useRealTimers() })

  /** Lets the watch go on as long as it takes, and `each` happen every second. */
  const said: Array<string> = []
  const watched = async (fs: MemoryFileSystem, each: (second: number) => void = () => {}) => {
    const end = awaitSilence(fs.calls, FOLDER, "/out", { onWait: (text) => said.push(text) }).then((silent) => ({ silent }), (error: unknown) => ({ error }))
    let ended = false
    void end.then(() => { ended = true })
    let second = 0
    for (; !ended; second++) {
      each(second)
      await vi.advanceTimersByTimeAsync(1000)
    }
    return { seconds: second, ...await end }
  }

  it.each(strangers)("%s keeps the lock", async (_, owner) => {
    const fs = await lockedBy({ ...owner, pid: await deadProcess() })
    await expect(take(fs)).rejects.toMatchObject({ code: "output/locked" })
    await expect(take(fs)).rejects.toThrow("cannot be seen from here")
  })

  it("loses it only to somebody who has watched it for a minute in vain", async () => {
    const fs = await lockedBy(strangers[2]![1])
    const { seconds, ...result } = await watched(fs)
    expect(seconds).toBeGreaterThanOrEqual(SILENCE_MS / 1000)
    expect(said.at(-1)).toMatch(/^process \d+ on .* holds the lock of \/out, and whether it runs cannot be seen from here: watching for a sign of life, 60 s at most$/)
    const { silent } = result as { silent: Awaited<ReturnType<typeof awaitSilence>> }
    const lock = await Lock.acquire(fs.calls, FOLDER, "/out", silent)
    expect(lock.previous?.namespace).toBe("pid:[1]")
    await lock.release()
  })

  it("keeps it by one heartbeat, also after the watch", async () => {
    const fs = await lockedBy(strangers[2]![1])
    const beat = () => fs.edit(`${FOLDER}/lock.1`, (bytes) => Buffer.from(Buffer.from(bytes).toString().replace(/7\n$/, "8\n")))
    expect(await watched(fs, (second) => { if (second === 40) beat() })).toMatchObject({ seconds: 41, error: { code: "output/locked" } })
    const { silent } = await watched(fs) as { silent: Awaited<ReturnType<typeof awaitSilence>> }
    fs.edit(`${FOLDER}/lock.1`, (bytes) => Buffer.from(Buffer.from(bytes).toString().replace(/8\n$/, "9\n")))
    await expect(Lock.acquire(fs.calls, FOLDER, "/out", silent)).rejects.toMatchObject({ code: "output/locked" })
  })

  it("that left its lock half-written is watched as well", async () => {
    const fs = await lockedBy({})
    fs.edit(`${FOLDER}/lock.1`, () => new Uint8Array(0))
    await expect(take(fs)).rejects.toMatchObject({ code: "output/locked" })
    const { silent } = await watched(fs) as { silent: Awaited<ReturnType<typeof awaitSilence>> }
    expect((await Lock.acquire(fs.calls, FOLDER, "/out", silent)).previous).toBeUndefined()
  })

  it("shows that it lives as long as it holds the lock", async () => {
    const fs = new MemoryFileSystem()
    const lock = await take(fs)
    const texts = new Set<string>()
    for (let i = 0; i < 5; i++) {
      texts.add(Buffer.from(fs.files(FOLDER).get("lock.1")!).toString())
      await vi.advanceTimersByTimeAsync(BEAT_MS)
    }
    expect(texts.size).toBe(5)
    await lock.release()
    const before = fs.files(FOLDER)
    await vi.advanceTimersByTimeAsync(5 * BEAT_MS)
    expect(fs.files(FOLDER)).toEqual(before)
  })

  it("and was only asleep finds out that the lock is another's, and leaves that one alone", async () => {
    const fs = new MemoryFileSystem()
    const sleeper = await take(fs)
    const file = await fs.calls.open(`${FOLDER}/lock.2`, "create")
    await file.write(Buffer.from(`${JSON.stringify({ ...thisProcess(), namespace: "pid:[1]" })}\n000000000000\n`), 0)
    await file.close()
    const theirs = fs.files(FOLDER).get("lock.2")
    await vi.advanceTimersByTimeAsync(2 * BEAT_MS)
    expect(() => sleeper.throwIfLost()).toThrow("was taken over, moved or removed by another program")
    await expect(sleeper.verify()).rejects.toMatchObject({ code: "output/lock-lost", exitCode: 5 })
    await sleeper.release()
    expect(fs.files(FOLDER).get("lock.2")).toEqual(theirs)
  })
})

it.each([
  ["moved away", async (fs: MemoryFileSystem) => fs.calls.rename(FOLDER, "/elsewhere")],
  ["replaced by another one of ours", async (fs: MemoryFileSystem) => {
    await fs.calls.rename(FOLDER, "/elsewhere")
    await createFolder(fs.calls, FOLDER)
    await fs.calls.link("/elsewhere/lock.1", `${FOLDER}/lock.1`)
  }],
  ["without its lock", async (fs: MemoryFileSystem) => fs.calls.remove(`${FOLDER}/lock.1`)]
])("a folder that was %s is not published from", async (_, act) => {
  const fs = new MemoryFileSystem()
  const lock = await take(fs)
  await lock.verify()
  await act(fs)
  await expect(lock.verify()).rejects.toMatchObject({ code: "output/lock-lost" })
  await lock.release()
})

/** proc(5): field 22, counted behind the command's name. */
function startOf(pid: number): string {
  return readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)!.split(" ")[19]!
}
