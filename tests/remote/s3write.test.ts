/** Checkpoints written to a bucket while they are produced: whole or not at all, resumed, replaced, given up. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PutObjectCommand } from "@aws-sdk/client-s3"
import { Effect, Layer } from "effect"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk, MegatronMimoBridge } from "../../src/index.ts"
import { type DiskCalls, nodeCalls } from "../../src/io/Disk.ts"
import { remoteStores } from "../../src/remote/RemoteStores.ts"
import { PartRoom, partSize, S3Upload, type UploadState } from "../../src/remote/s3/S3Upload.ts"
import { runCli } from "../cli/run.ts"
import { type FakeBucket, startBucket } from "./bucket.ts"
import { importFrom } from "./faultedRuns.ts"
import { treeOf } from "../trees.ts"
import { unlike, WRITE_FAULTS, writeFaulted } from "./faultedWrites.ts"

const work = mkdtempSync(join(tmpdir(), "s3-write-"))
const [hf, local, state] = [join(work, "hf"), join(work, "local"), join(work, "state")]
const TARGET = "s3://checkpoints/run"
let bucket: FakeBucket
const cli = (...args: ReadonlyArray<string>) => runCli([...args], { cwd: work })
/** Of the library, and of the command line, whose options have other names in the sums. */
let expected: ReadonlyMap<string, Buffer>
let typed: ReadonlyMap<string, Buffer>

beforeAll(async () => {
  await Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, hf, { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  bucket = await startBucket("checkpoints")
  for (const [name, value] of Object.entries({ ...bucket.env, XDG_STATE_HOME: state })) vi.stubEnv(name, value)
  await importFrom(hf, local)
  expected = treeOf(local)
  expect((await cli("import", "--hf-model", hf, "--megatron-path", "typed", "-q")).code).toBe(0)
  typed = treeOf(join(work, "typed"))
})

afterAll(async () => {
  vi.unstubAllEnvs()
  await bucket.close()
  rmSync(work, { recursive: true })
})

beforeEach(() => { bucket.proxy.asked.length = 0 })
afterEach(async () => {
  bucket.proxy.spoil = undefined
  await bucket.clear("")
})

/** What this machine remembers. */
const remembered = (): ReadonlyArray<string> => readdirSync(join(state, "megatron-mimo-bridge", "uploads"))

describe("an import to a bucket", () => {
  it("has the files of one to a directory; trackers come last, and nothing is left open", async () => {
    await importFrom(hf, TARGET)
    expect(unlike(expected, await bucket.tree("run/"))).toEqual([])
    const last = bucket.proxy.asked.slice(-4, -1).map(({ url }) => url.split("?")[0])
    expect(last).toEqual(["/checkpoints/run/iter_0000000/.metadata", "/checkpoints/run/latest_train_state.pt", "/checkpoints/run/latest_checkpointed_iteration.txt"])
    expect(bucket.unfinished()).toEqual([])
    expect(remembered()).toEqual([])
    expect((await cli("verify", "--hf-model", hf, "--megatron-path", TARGET)).code).toBe(0)
    expect((await cli("verify", "--deep", TARGET)).code).toBe(0)
  })

  it("from a bucket touches no disk but for its journal", async () => {
    for (const [name, bytes] of treeOf(hf)) await bucket.s3.send(new PutObjectCommand({ Bucket: "checkpoints", Key: `model/${name}`, Body: bytes }))
    const touched = new Set<string>()
    const writes = ["makeDirectory", "rename", "link", "symbolicLink", "clone", "remove", "removeTree", "removeDirectory"] as const
    const disk: DiskCalls = {
      ...nodeCalls,
      open: (path, mode, how) => {
        if (mode !== "read") touched.add(path)
        return nodeCalls.open(path, mode, how)
      },
      ...Object.fromEntries(writes.map((name) => [name, (path: string, ...rest: ReadonlyArray<string>) => {
        touched.add(path)
        return (nodeCalls[name] as (...args: ReadonlyArray<string>) => Promise<void>)(path, ...rest)
      }]))
    }
    await Effect.runPromise(MegatronMimoBridge.fromHfPretrained("s3://checkpoints/model").pipe(
      Effect.flatMap((bridge) => bridge.importCheckpoint(TARGET, {})),
      Effect.provide(Layer.succeed(Disk, disk))
    ))
    expect(unlike(expected, await bucket.tree("run/"))).toEqual([])
    expect([...touched].filter((path) => !path.startsWith(state))).toEqual([])
  })

  it("is refused where something is; --overwrite replaces a checkpoint, and nothing else", async () => {
    await bucket.s3.send(new PutObjectCommand({ Bucket: "checkpoints", Key: "run/notes.txt", Body: "mine" }))
    expect((await cli("import", "--hf-model", hf, "--megatron-path", TARGET, "--json")).out).toContain('"output/exists"')
    expect((await cli("import", "--hf-model", hf, "--megatron-path", TARGET, "--overwrite", "--json")).out).toContain('"output/not-replaceable"')
    await bucket.clear("run/")
    for (const name of ["iter_0000000/.metadata", "iter_0000000/__9_9.distcp", "latest_checkpointed_iteration.txt"]) await bucket.s3.send(new PutObjectCommand({ Bucket: "checkpoints", Key: `run/${name}`, Body: "former" }))
    const { code, err } = await cli("import", "--hf-model", hf, "--megatron-path", TARGET, "--overwrite", "-q")
    expect(code, err).toBe(0)
    expect(unlike(typed, await bucket.tree("run/"))).toEqual([])
    const removed = bucket.proxy.asked.filter(({ method }) => method === "DELETE").map(({ url }) => url.split("?")[0]!)
    expect(removed[0]).toBe("/checkpoints/run/latest_checkpointed_iteration.txt")
  })

  it("refuses a target in its source, several processes, and places that are only read", async () => {
    for (const [name, bytes] of treeOf(hf)) await bucket.s3.send(new PutObjectCommand({ Bucket: "checkpoints", Key: `model/${name}`, Body: bytes }))
    expect((await cli("import", "--hf-model", "s3://checkpoints/model", "--megatron-path", "s3://checkpoints/model/megatron", "--json")).out).toContain('"output/holds-source"')
    expect((await cli("import", "--hf-model", hf, "--megatron-path", "https://host/x", "--json")).out).toContain('"output/read-only"')
  })

  it("gives way to whoever publishes there meanwhile, and takes back what it put", async () => {
    bucket.proxy.spoil = ({ method, url }, _, usual) => {
      // As the first upload becomes an object, somebody puts a tracker there.
      if (method !== "POST" || !url.includes("uploadId=")) return false
      bucket.proxy.spoil = undefined
      void bucket.s3.send(new PutObjectCommand({ Bucket: "checkpoints", Key: "run/latest_checkpointed_iteration.txt", Body: "7" })).then(usual)
      return true
    }
    const { code, out } = await cli("import", "--hf-model", hf, "--megatron-path", TARGET, "--json")
    expect(JSON.parse(out).error.code, out).toBe("output/appeared")
    expect(code).toBe(5)
    expect([...await bucket.tree("run/")].map(([name, bytes]) => [name, bytes.toString()])).toEqual([["latest_checkpointed_iteration.txt", "7"]])
    expect(bucket.unfinished()).toEqual([])
  })

  it("says what it would send", async () => {
    const { out } = await cli("import", "--hf-model", hf, "--megatron-path", TARGET, "--dry-run")
    expect(out).toMatch(/3 files are uploaded while they are produced, in 3 parts/)
    expect(bucket.proxy.asked).toEqual([])
  })
})

describe("exports and relabelled checkpoints", () => {
  it("come into a bucket as into a directory", async () => {
    await importFrom(hf, TARGET)
    expect((await cli("export", "--hf-model", hf, "--megatron-path", TARGET, "--hf-path", "s3://checkpoints/out", "-q")).err).toBe("")
    expect(unlike(treeOf(hf), await bucket.tree("out/"))).toEqual([])
    expect((await cli("relabel", TARGET, "s3://checkpoints/ddp", "--to", "ddp", "-q")).err).toBe("")
    expect((await cli("relabel", local, join(work, "ddp"), "--to", "ddp", "-q")).err).toBe("")
    expect(unlike(treeOf(join(work, "ddp")), await bucket.tree("ddp/"))).toEqual([])
  })
})

describe("an import that was interrupted", () => {
  /** From the first answer for which it is so, everything is refused. */
  const breakAt = (isHere: (asked: { readonly method: string; readonly url: string }) => boolean): void => {
    let broken = false
    bucket.proxy.spoil = (asked, response) => {
      broken ||= isHere(asked)
      if (broken) response.writeHead(403).end()
      return broken
    }
  }
  const importing = (...more: ReadonlyArray<string>) => cli("import", "--hf-model", hf, "--megatron-path", TARGET, "--json", ...more)

  it.each([
    ["before a part", ({ method, url }: { method: string; url: string }) => method === "PUT" && url.includes("__1_0") && url.includes("partNumber")],
    ["before uploads become objects", ({ method, url }: { method: string; url: string }) => method === "POST" && url.includes("__0_1") && url.includes("uploadId")],
    ["before the trackers", ({ url }: { url: string }) => url.includes("latest_train_state.pt")]
  ])("%s goes on with what it has uploaded", async (_, isHere) => {
    breakAt(isHere)
    const failed = await importing()
    expect(failed.code).toBeGreaterThan(0)
    expect(JSON.parse(failed.out).error.hint).toMatch(/--resume goes on with them/)
    bucket.proxy.spoil = undefined
    const before = [...(await bucket.tree("run/")).keys()]
    expect(before.filter((name) => name.startsWith("latest"))).toEqual([])
    const listed = JSON.parse((await cli("uploads", TARGET, "--json")).out)
    expect(listed.runs).toMatchObject([{ target: TARGET, running: false }])
    bucket.proxy.asked.length = 0
    const { code, out } = await importing("--resume")
    expect(code, out).toBe(0)
    expect(out).toMatch(/resumed: .* had uploaded were compared/)
    expect(unlike(typed, await bucket.tree("run/"))).toEqual([])
    const sent = bucket.proxy.asked.filter(({ method, url }) => method === "PUT" && url.includes("partNumber"))
    // Each of the three files is one part.
    const kept = before.filter((name) => name.endsWith(".distcp")).length + listed.uploads.reduce((sum: number, { parts }: { readonly parts: number }) => sum + parts, 0)
    expect(sent.length).toBe(3 - kept)
    expect(bucket.unfinished()).toEqual([])
    expect(remembered()).toEqual([])
  })

  it("starts over without --resume, and leaves no uploads behind", async () => {
    breakAt(({ method, url }) => method === "POST" && url.includes("__0_1") && url.includes("uploadId"))
    await importing()
    bucket.proxy.spoil = undefined
    expect(bucket.unfinished().length).toBeGreaterThan(0)
    const { code, out } = await importing()
    expect(code, out).toBe(0)
    expect(out).toMatch(/were removed; --resume would have continued it/)
    expect(unlike(typed, await bucket.tree("run/"))).toEqual([])
    expect(bucket.unfinished()).toEqual([])
  })

  it("is given up by `uploads --abort`, and so is what others have begun there", async () => {
    breakAt(({ method, url }) => method === "POST" && url.includes("__0_1") && url.includes("uploadId"))
    await importing()
    bucket.proxy.spoil = undefined
    const { out } = await cli("uploads", TARGET)
    expect(out).toMatch(/__0_1\.distcp .* in 1 part, since 2026-01-02/)
    expect((await cli("uploads")).out).toContain(TARGET)
    expect((await cli("uploads", TARGET, "--abort")).code).toBe(0)
    expect(bucket.unfinished()).toEqual([])
    expect(await bucket.tree("")).toEqual(new Map())
    expect(remembered()).toEqual([])
    expect((await cli("uploads")).out).toContain("remembers no unfinished upload")
  })

  it("does not go on once its source is another one", async () => {
    breakAt(({ method, url }) => method === "POST" && url.includes("__0_1") && url.includes("uploadId"))
    await importing()
    bucket.proxy.spoil = undefined
    expect(JSON.parse((await importing("--resume", "--torch-dtype", "float32")).out).error.code).toBe("output/other-job")
    await cli("uploads", TARGET, "--abort")
  })
})

describe("a large object", () => {
  it("is sent in parts, whatever the order of its windows, and again only where it is another", async () => {
    const size = 2 * (8 << 20) + 12345
    const bytes = Buffer.alloc(size)
    for (let i = 0; i < size; i += 4) bytes.writeUInt32LE((i * 2654435761) >>> 0, Math.min(i, size - 4))
    const place = remoteStores(nodeCalls, { timeout: 1000, patience: 1 }).s3.bucket("s3://checkpoints/large")
    const windows: Array<number> = []
    for (let at = 0; at < size; at += 3 << 20) windows.push(at)
    const room = new PartRoom()
    const written = async (from: UploadState): Promise<number> => {
      let sent = 0
      const file = new S3Upload(place, "run", from, room, { begun: async () => {}, sent: () => { sent++ } })
      await Promise.all(windows.toReversed().map((at) => file.write(bytes.subarray(at), Math.min(3 << 20, size - at), at)))
      await file.finish()
      return sent
    }
    const state: UploadState = { name: "x", size, partSize: partSize(size), id: undefined, parts: new Map(), done: undefined }
    expect(await written(state)).toBe(3)
    state.parts.delete(2)
    state.parts.set(3, { ...state.parts.get(3)!, crc32: 1 })
    expect(await written(state)).toBe(2)
    const etag = await place.complete("x", state.id!, "run", [...state.parts.values()].sort((a, b) => a.number - b.number))
    expect((await bucket.tree("large/")).get("x")!.equals(bytes)).toBe(true)
    // Whoever asks again, as the answer was lost, hears the same; another run is refused.
    expect(await place.complete("x", state.id!, "run", [...state.parts.values()])).toBe(etag)
    await expect(place.put("x", new Uint8Array(3), 0xff41d912, "another run")).rejects.toMatchObject({ errno: "EEXIST" })
  })

  it.each([[0, 8], [8 * 9500, 8], [76_001, 9], [5 * 1024 * 1024, 552]])("of %i MiB has parts of %i MiB", (size, part) => {
    expect(partSize(size * 2 ** 20) / 2 ** 20).toBe(part)
  })

  it("that comes otherwise than it was sent is refused", async () => {
    const place = remoteStores(nodeCalls, { timeout: 1000, patience: 1 }).s3.bucket("s3://checkpoints/large")
    await expect(place.put("y", new Uint8Array(3), 1, "run")).rejects.toMatchObject({ errno: "EHTTP", detail: expect.stringContaining("BadDigest") })
  })
})

describe("a network that goes wrong", () => {
  // Every fault at every place is tried by `npm run remote:faults`.
  it.each(WRITE_FAULTS.filter(({ name }) => /^(412|half upload|done|200)/.test(name)).map((fault) => [fault.name, fault] as const))("%s: the same objects, or an error and nothing", async (_, fault) => {
    expect(await writeFaulted(bucket, hf, TARGET, "run/", expected, fault, 5, false), "once, at request 5").toBeUndefined()
    expect(await writeFaulted(bucket, hf, TARGET, "run/", expected, fault, 9, true), "from request 9 on").toBeUndefined()
  })
})

