/** How little is asked of a store, what is said of the network, and what every range is held to. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PutObjectCommand } from "@aws-sdk/client-s3"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { eventLine } from "../../src/cli/documents/failures.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk } from "../../src/index.ts"
import { runCli } from "../cli/run.ts"
import { type FakeBucket, startBucket } from "./bucket.ts"
import { type FakeHub, startFakeHub, TOKEN } from "./fakeHub.ts"
import { treeOf } from "../trees.ts"

const COMMIT = "0123456789abcdef0123456789abcdef01234567"
const work = mkdtempSync(join(tmpdir(), "frugal-"))
const hf = join(work, "hf")
let bucket: FakeBucket
let hub: FakeHub
let shards: number
const cli = (...args: ReadonlyArray<string>) => runCli([...args], { cwd: work })

beforeAll(async () => {
  // Nearly every tensor in a shard of its own.
  await Effect.runPromise(writeSample(families, { ...samples["qwen3.5-vl"]!.tiny, shardBytes: 1 }, hf, { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  const files = treeOf(hf)
  shards = [...files.keys()].filter((name) => name.endsWith(".safetensors")).length
  bucket = await startBucket("models")
  hub = await startFakeHub()
  hub.repositories.set("org/model", { commit: COMMIT, files })
  for (const [name, bytes] of files) await bucket.s3.send(new PutObjectCommand({ Bucket: "models", Key: `many/${name}`, Body: bytes }))
  for (const [name, value] of Object.entries({ ...bucket.env, XDG_STATE_HOME: join(work, "state"), HF_ENDPOINT: hub.endpoint, HF_HUB_OFFLINE: undefined, HF_HOME: join(work, "home"), HF_TOKEN: TOKEN })) vi.stubEnv(name, value)
})

afterAll(async () => {
  vi.unstubAllEnvs()
  await bucket.close()
  await hub.close()
  rmSync(work, { recursive: true })
})

describe("a plan of a model in many shards", () => {
  it("asks a bucket once for each shard, and five times besides", async () => {
    expect(shards).toBeGreaterThanOrEqual(100)
    bucket.proxy.asked.length = 0
    expect((await cli("plan", "--hf-model", "s3://models/many", "--json")).code).toBe(0)
    expect(bucket.proxy.asked.length).toBeLessThanOrEqual(shards + 5)
  })

  it("reads once of each shard on the Hub, asks once where that is, and little besides pages of the list", async () => {
    hub.asked.length = 0
    expect((await cli("plan", "--hf-model", "hf://org/model", "--json")).code).toBe(0)
    const of = (isOne: (url: string, host: string) => boolean) => hub.asked.filter(({ host, url }) => isOne(url, host)).length
    expect(of((_, host) => host === "cdn")).toBe(shards)
    expect(of((url, host) => host === "hub" && /resolve.*safetensors$/.test(url))).toBe(shards)
    expect(of((url, host) => host === "hub" && !/resolve.*safetensors$|\/tree\//.test(url))).toBeLessThanOrEqual(4)
  })
})

describe("an import from elsewhere", () => {
  it("says what every range is held to", async () => {
    const sums = new Map([...treeOf(hf)].filter(([name]) => name.endsWith(".safetensors")))
    const { out } = await cli("import", "--hf-model", "hf://org/model", "--megatron-path", "from-hub", "--json")
    const { pinned } = JSON.parse(out) as { pinned: ReadonlyArray<{ file: string; by: string }> }
    expect(pinned).toHaveLength(sums.size)
    expect(pinned[0]!.file).toContain(COMMIT)
    expect(pinned.every(({ by }) => /^SHA-256 [0-9a-f]{64}$/.test(by))).toBe(true)
    const plan = await cli("plan", "--hf-model", "s3://models/many")
    expect(plan.out).toMatch(/read by ranges.*\n.*model-00001.*safetensors: \d+ bytes, "[0-9a-f]{32}"/)
  })

  it("tells its traffic, and what was asked again, in its events", async () => {
    let spoiled = 3
    bucket.proxy.spoil = ({ method, url }, response) => {
      if (method !== "PUT" || !url.includes("partNumber") || spoiled-- <= 0) return false
      response.writeHead(503).end()
      return true
    }
    const { code, err } = await cli("import", "--hf-model", "s3://models/many", "--megatron-path", "s3://models/told", "--json-events", "-q")
    bucket.proxy.spoil = undefined
    expect(code, err).toBe(0)
    const events = err.trimEnd().split("\n").map((line) => eventLine.parse(JSON.parse(line)))
    const bytes = [...treeOf(hf)].reduce((sum, [name, { byteLength }]) => sum + (name.endsWith(".safetensors") ? byteLength : 0), 0)
    const end = events.at(-1)!
    expect(end).toMatchObject({ event: "end", network: { retries: 3 } })
    // What was sent, at least: what was read may have come with the headers.
    expect((end as { network: { bytes: number } }).network.bytes).toBeGreaterThan(bytes * 0.9)
  })
})
