/** One suite for every driver of the store. */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { PutObjectCommand } from "@aws-sdk/client-s3"
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { nodeCalls } from "../../src/io/Disk.ts"
import { remoteStores } from "../../src/remote/RemoteStores.ts"
import { readFully } from "../../src/store/Store.ts"
import type { Store } from "../../src/store/Store.ts"
import { startBucket } from "../remote/bucket.ts"
import { startFakeHub, TOKEN } from "../remote/fakeHub.ts"
import { startWeb } from "../remote/web.ts"
import { memoryStore } from "./memoryStore.ts"

interface Driver {
  readonly root: string
  /** As another process finds it: what is far away is pinned by whoever has looked at it. */
  readonly look: () => Promise<Store>
  /** Put a file there from outside, with the same time as before if there was one. */
  readonly put: (path: string, bytes: Uint8Array) => void | Promise<unknown>
  readonly close: () => void | Promise<unknown>
}

const local = async (): Promise<Driver> => {
  const root = mkdtempSync(join(tmpdir(), "store-"))
  const put = (path: string, bytes: Uint8Array) => {
    const file = join(root, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(`${file}.new`, bytes)
    if (existsSync(file)) utimesSync(`${file}.new`, statSync(file).atime, statSync(file).mtime)
    renameSync(`${file}.new`, file)
  }
  return { root, look: async () => nodeCalls, put, close: () => { rmSync(root, { recursive: true }) } }
}

const memory = async (): Promise<Driver> => {
  const files = new Map<string, Uint8Array>()
  const store = memoryStore(files)
  return { root: "/root", look: async () => store, put: (path, bytes) => void files.set(`/root/${path}`, bytes), close: () => {} }
}

const far = (root: string, env: Readonly<Record<string, string>>): Pick<Driver, "root" | "look"> =>
  ({ root, look: () => remoteStores(nodeCalls, { timeout: 5000 }, env).of(root) })

const web = async (): Promise<Driver> => {
  const files = new Map<string, Uint8Array>()
  const server = await startWeb(files)
  return { ...far(`${server.address}/root`, {}), put: (path, bytes) => void files.set(`root/${path}`, bytes), close: server.close }
}

const hub = async (): Promise<Driver> => {
  const server = await startFakeHub()
  const home = mkdtempSync(join(tmpdir(), "store-hub-"))
  const files = new Map<string, Uint8Array>()
  return {
    ...far("hf://org/model", { HF_ENDPOINT: server.endpoint, HF_HOME: home, HF_TOKEN: TOKEN }),
    put: (path, bytes) => {
      files.set(path, bytes)
      const commit = createHash("sha1").update(String(server.repositories.get("org/model")?.commit)).digest("hex")
      server.repositories.set("org/model", { commit, files: new Map(files) })
    },
    close: async () => {
      await server.close()
      rmSync(home, { recursive: true })
    }
  }
}

const bucket = async (): Promise<Driver> => {
  const server = await startBucket("models")
  // AWS's client takes them from there.
  for (const [name, value] of Object.entries(server.env)) vi.stubEnv(name, value)
  return {
    ...far("s3://models/root", server.env),
    put: (path, bytes) => server.s3.send(new PutObjectCommand({ Bucket: "models", Key: `root/${path}`, Body: bytes })),
    close: async () => {
      vi.unstubAllEnvs()
      await server.close()
    }
  }
}

const BYTES = Uint8Array.from({ length: 10_000 }, (_, i) => i % 251)
const CONFIG = "config.json"
const WEIGHTS = "b/model.safetensors"

describe.each([["local disk", local], ["memory", memory], ["https", web], ["the Hub", hub], ["a bucket", bucket]] as const)("%s", (kind, make) => {
  let driver: Driver
  let store: Store
  const at = (name: string): string => `${driver.root}/${name}`
  beforeAll(async () => { driver = await make() })
  afterAll(() => driver.close())
  beforeEach(async () => {
    await driver.put(WEIGHTS, BYTES)
    await driver.put(CONFIG, new Uint8Array(0))
    store = await driver.look()
  })

  it("lists names in order, and says what they are", async () => {
    // Servers of the web list nothing: there a directory holds what usual names find.
    expect(await store.list(driver.root)).toEqual(kind === "https" ? [CONFIG] : ["b", CONFIG])
    expect(await store.list(at("b"))).toEqual(["model.safetensors"])
    expect(await store.stat(at("b"))).toMatchObject({ kind: "directory" })
    expect(await store.stat(at(WEIGHTS))).toMatchObject({ kind: "file", size: 10_000 })
    expect(await store.stat(at(CONFIG))).toMatchObject({ kind: "file", size: 0 })
  })

  it("reads any range into a given buffer; less at the end, nothing after it", async () => {
    const file = await store.open(at(WEIGHTS), "read")
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

  it("reads nothing from an empty file", async () => {
    const file = await store.open(at(CONFIG), "read")
    expect(await file.read(new Uint8Array(10), 0)).toBe(0)
    expect((await file.info()).size).toBe(0)
    await file.close()
  })

  it("ranges of one file may be read at the same time", async () => {
    const file = await store.open(at(WEIGHTS), "read")
    const parts = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
      const into = new Uint8Array(200)
      await readFully(file, into, i * 200)
      return into
    }))
    expect(Buffer.concat(parts).equals(BYTES)).toBe(true)
    await file.close()
  })

  it("an identity stays while the content does, and changes with it, the same length and time or not", async () => {
    const identity = async () => (await (await driver.look()).stat(at(WEIGHTS))).identity
    const before = await identity()
    expect(await identity()).toBe(before)
    const file = await store.open(at(WEIGHTS), "read")
    expect((await file.info()).identity).toBe(before)
    await file.close()
    await driver.put(WEIGHTS, BYTES.toReversed())
    expect(await identity()).not.toBe(before)
  })

  it("what is not there is ENOENT, a file is no directory", async () => {
    await expect(store.stat(at("c.json"))).rejects.toMatchObject({ _tag: "IoError", errno: "ENOENT" })
    await expect(store.open(at("c.json"), "read")).rejects.toMatchObject({ _tag: "IoError", errno: "ENOENT" })
    await expect(store.list(at("c"))).rejects.toMatchObject({ _tag: "IoError", errno: "ENOENT" })
    await expect(store.list(at(CONFIG))).rejects.toMatchObject({ _tag: "IoError", errno: "ENOTDIR" })
  })
})
