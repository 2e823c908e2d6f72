/** One suite for every driver of the store. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, beforeEach, describe, expect, it } from "vitest"
import { nodeCalls } from "../../src/io/Disk.ts"
import { readFully } from "../../src/store/Store.ts"
import type { Store } from "../../src/store/Store.ts"
import { memoryStore } from "./memoryStore.ts"

const work = mkdtempSync(join(tmpdir(), "store-"))
afterAll(() => rmSync(work, { recursive: true }))

interface Driver {
  readonly store: Store
  readonly root: string
  /** Put a file there from outside, with the same time as before if there was one. */
  readonly put: (path: string, bytes: Uint8Array) => void
}

const local = (): Driver => {
  const root = mkdtempSync(join(work, "local-"))
  const put = (path: string, bytes: Uint8Array) => {
    mkdirSync(dirname(path), { recursive: true })
    const before = existsSync(path) ? statSync(path) : undefined
    writeFileSync(path, bytes)
    if (before) utimesSync(path, before.atime, before.mtime)
  }
  return { store: nodeCalls, root, put }
}

const memory = (): Driver => {
  const files = new Map<string, Uint8Array>()
  return { store: memoryStore(files), root: "/root", put: (path, bytes) => void files.set(path, bytes) }
}

const BYTES = Uint8Array.from({ length: 10_000 }, (_, i) => i % 251)

describe.each([["local disk", local], ["memory", memory]] as const)("%s", (_, make) => {
  let driver: Driver
  let at: (...names: ReadonlyArray<string>) => string
  beforeEach(() => {
    driver = make()
    at = (...names) => join(driver.root, ...names)
    driver.put(at("b", "weights"), BYTES)
    driver.put(at("a"), new Uint8Array(0))
  })

  it("lists names in order, and says what they are", async () => {
    expect(await driver.store.list(driver.root)).toEqual(["a", "b"])
    expect(await driver.store.stat(at("b"))).toMatchObject({ kind: "directory" })
    expect(await driver.store.stat(at("b", "weights"))).toMatchObject({ kind: "file", size: 10_000 })
  })

  it("reads any range into a given buffer; less at the end, nothing after it", async () => {
    const file = await driver.store.open(at("b", "weights"), "read")
    const into = new Uint8Array(300)
    await readFully(file, into.subarray(0, 200), 4000)
    expect([...into]).toEqual([...BYTES.subarray(4000, 4200), ...new Uint8Array(100)])
    expect(await file.read(into, 9900)).toBe(100)
    expect(into.subarray(0, 100)).toEqual(BYTES.subarray(9900))
    expect(await file.read(into, 10_000)).toBe(0)
    expect(await file.read(into, 20_000)).toBe(0)
    await expect(readFully(file, into, 9900)).rejects.toMatchObject({ _tag: "IoError", errno: "ESHORT" })
    expect((await file.info()).size).toBe(10_000)
    await file.close()
  })

  it("ranges of one file may be read at the same time", async () => {
    const file = await driver.store.open(at("b", "weights"), "read")
    const parts = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
      const into = new Uint8Array(200)
      await readFully(file, into, i * 200)
      return into
    }))
    expect(Buffer.concat(parts).equals(BYTES)).toBe(true)
    await file.close()
  })

  it("an identity stays while the content does, and changes with it, the same length and time or not", async () => {
    const identity = async () => (await driver.store.stat(at("b", "weights"))).identity
    const before = await identity()
    expect(await identity()).toBe(before)
    const file = await driver.store.open(at("b", "weights"), "read")
    expect((await file.info()).identity).toBe(before)
    await file.close()
    driver.put(at("b", "weights"), BYTES.toReversed())
    expect(await identity()).not.toBe(before)
  })

  it("what is not there is ENOENT, a file is no directory", async () => {
    await expect(driver.store.stat(at("c"))).rejects.toMatchObject({ _tag: "IoError", errno: "ENOENT" })
    await expect(driver.store.open(at("c"), "read")).rejects.toMatchObject({ _tag: "IoError", errno: "ENOENT" })
    await expect(driver.store.list(at("c"))).rejects.toMatchObject({ _tag: "IoError", errno: "ENOENT" })
    await expect(driver.store.list(at("a"))).rejects.toMatchObject({ _tag: "IoError", errno: "ENOTDIR" })
  })
})
