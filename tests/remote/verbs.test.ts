/** Verbs on what is far away: as on the disk, with little asked of a large model, and with no secret in anything that is printed or kept. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PutObjectCommand } from "@aws-sdk/client-s3"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk } from "../../src/index.ts"
import { type Finished, runCli } from "../cli/run.ts"
import { type FakeBucket, startBucket } from "./bucket.ts"
import { type FakeHub, startFakeHub, TOKEN } from "./fakeHub.ts"
import { treeOf } from "../trees.ts"
import { startWeb } from "./web.ts"
import { unlike } from "./faultedWrites.ts"
import { digests, writeModel, writeNext } from "../rollout/models.ts"

const COMMIT = "0123456789abcdef0123456789abcdef01234567"
const work = mkdtempSync(join(tmpdir(), "far-verbs-"))
const printed: Array<string> = []
let bucket: FakeBucket
let hub: FakeHub

const cli = async (...args: ReadonlyArray<string>): Promise<Finished> => {
  const finished = await runCli([...args], { cwd: work })
  printed.push(finished.out, finished.err)
  return finished
}
const well = async (...args: ReadonlyArray<string>): Promise<void> => {
  const { code, err, out } = await cli(...args)
  expect(code, err + out).toBe(0)
}
const put = async (prefix: string, files: ReadonlyMap<string, Uint8Array>): Promise<void> => {
  for (const [name, bytes] of files) await bucket.s3.send(new PutObjectCommand({ Bucket: "models", Key: `${prefix}/${name}`, Body: bytes }))
}
/** Names of sources are in the sums' file. */
const withoutSums = (files: ReadonlyMap<string, Buffer>): ReadonlyMap<string, Buffer> => new Map([...files].filter(([name]) => !name.endsWith("checksums.json")))

beforeAll(async () => {
  await Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, join(work, "hf"), { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  bucket = await startBucket("models")
  hub = await startFakeHub()
  hub.repositories.set("org/model", { commit: COMMIT, files: treeOf(join(work, "hf")) })
  const env = { ...bucket.env, XDG_STATE_HOME: join(work, "state"), HF_ENDPOINT: hub.endpoint, HF_HUB_OFFLINE: undefined, HF_HOME: join(work, "home"), HF_TOKEN: TOKEN }
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  await well("import", "--hf-model", "hf", "--megatron-path", "run", "-q")
  await put("run", treeOf(join(work, "run")))
})

afterAll(async () => {
  vi.unstubAllEnvs()
  await bucket.close()
  await hub.close()
  rmSync(work, { recursive: true })
})

describe("a checkpoint in a bucket", () => {
  it("is resharded as the same one on the disk is, into a directory and into a bucket", async () => {
    for (const [from, to] of [["run", "near"], ["s3://models/run", "far"], ["s3://models/run", "s3://models/cut"]]) await well("reshard", from!, to!, "--component", "language=tp=2", "--component", "images=tp=1", "-q")
    const near = withoutSums(treeOf(join(work, "near")))
    expect(near.size).toBeGreaterThan(3)
    expect(unlike(near, withoutSums(treeOf(join(work, "far"))))).toEqual([])
    expect(unlike(near, withoutSums(await bucket.tree("cut/")))).toEqual([])
  })

  it("has its iterations averaged as they are on the disk", async () => {
    const run = treeOf(join(work, "run"))
    await put("two", run)
    await put("two", new Map([...run].flatMap(([name, bytes]) => (name.startsWith("iter_0000000/") ? [[name.replace("iter_0000000", "iter_0000007"), bytes] as const] : []))))
    await well("merge-iterations", "s3://models/two", "mean", "--iterations", "0,7", "-q")
    await well("diff", "run/iter_0000000", "mean/iter_0000007")
  })

  it("is compared with a model of the Hub, and is written from one", async () => {
    await well("verify", "--hf-model", "hf://org/model", "--megatron-path", "s3://models/run")
    await well("import", "--hf-model", "hf://org/model", "--megatron-path", "s3://models/from-hub", "--cache", "--report", "report.html")
    await well("diff", "hf://org/model", "s3://models/from-hub")
    await well("plan", "--hf-model", "hf://org/model", "--json")
  })
})

describe("versions of weights", () => {
  it("are pulled from a bucket, the Hub and a web server, as they are from the disk: whole, by deltas, and back", async () => {
    for (const [n, share] of [0, 0.01, 0.02].entries()) {
      if (n === 0) writeModel(join(work, "state1"), 1)
      else writeNext(join(work, `state${n}`), join(work, `state${n + 1}`), share, n)
      await well("publish", `state${n + 1}`, "versions", "-q")
    }
    const tree = treeOf(join(work, "versions"))
    await put("versions", tree)
    hub.repositories.set("org/versions", { commit: COMMIT, files: tree })
    const web = await startWeb(new Map([...tree].map(([name, bytes]) => [`v/${name}`, bytes])))
    const roots = { bucket: "s3://models/versions", hub: "hf://org/versions", web: `${web.address}/v` }
    for (const [where, root] of Object.entries(roots)) {
      const local = join(work, `pulled-${where}`)
      for (const n of [2, 3, 1]) {
        await well("pull", root, local, "--to", String(n), "-q")
        expect(digests(local), `${where}, version ${n}`).toEqual(digests(join(work, `state${n}`)))
      }
      if (where === "web") continue
      await well("pull", root, local, "-q")
      expect(digests(local), where).toEqual(digests(join(work, "state3")))
    }
    // HTTP lists nothing.
    const { code, err } = await cli("pull", roots.web, join(work, "pulled-web"))
    expect([code, err]).toEqual([3, expect.stringContaining("--to N")])
    await web.close()
  })
})

describe("a model of 600 GB on the Hub", () => {
  const SHARDS = 160
  const BYTES = 3_750_000_000
  const shard = (i: number): readonly [string, Uint8Array] => {
    const header = JSON.stringify({ [`model.layers.${i}.weight`]: { dtype: "BF16", shape: [BYTES / 2 / 1000, 1000], data_offsets: [0, BYTES] } })
    const text = Buffer.from(header.padEnd(Math.ceil(header.length / 8) * 8))
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(text.byteLength))
    return [`model-${String(i + 1).padStart(5, "0")}-of-00160.safetensors`, Buffer.concat([length, text])]
  }

  it("is looked at by its headers: an address and a range for each shard, a few MB a hundred shards", async () => {
    const shards = Array.from({ length: SHARDS }, (_, i) => shard(i))
    const files = new Map<string, Uint8Array>([
      ["config.json", Buffer.from(JSON.stringify({ architectures: ["SomebodysModel"], model_type: "somebodys" }))],
      ["model.safetensors.index.json", Buffer.from(JSON.stringify({ metadata: { total_size: SHARDS * BYTES }, weight_map: Object.fromEntries(shards.map(([name], i) => [`model.layers.${i}.weight`, name])) }))],
      ...shards
    ])
    const sizes = new Map(shards.map(([name, { byteLength }]) => [name, byteLength + BYTES]))
    hub.repositories.set("org/large", { commit: COMMIT, files, sizes })
    hub.asked.length = 0
    const { code, err, out } = await cli("inspect", "hf://org/large", "--json")
    expect(code, err).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ tensors: { length: SHARDS } })
    const ranges = hub.asked.filter(({ host }) => host === "cdn").map(({ range }) => /^bytes=0-(\d+)$/.exec(range!)![1])
    expect(ranges).toHaveLength(SHARDS)
    expect(ranges.reduce((sum, last) => sum + Number(last) + 1, 0)).toBeLessThan(45e6)
    // Pages of the list, of which the true Hub needs one, apart.
    expect(hub.asked.filter(({ host, url }) => host === "hub" && !url.includes("/tree/")).length).toBeLessThanOrEqual(SHARDS + 5)
  })
})

describe("secrets", () => {
  it("are in nothing that was printed, and in no file: journal, cache, report, checkpoint", async () => {
    hub.spoil = ({ url }, response) => url.includes("model.safetensors") && Boolean(response.writeHead(403).end("no"))
    expect((await cli("import", "--hf-model", "hf://org/model", "--megatron-path", "refused", "--json", "--verbose")).code).not.toBe(0)
    hub.spoil = undefined
    bucket.proxy.spoil = ({ method }, response) => method === "PUT" && Boolean(response.writeHead(403).end("no"))
    expect((await cli("import", "--hf-model", "hf", "--megatron-path", "s3://models/refused", "--verbose")).code).not.toBe(0)
    bucket.proxy.spoil = undefined
    const kept = readdirSync(work, { recursive: true, encoding: "utf8" }).map((name) => join(work, name)).filter((path) => statSync(path).isFile())
    expect(kept.some((path) => path.includes("blobs")) && kept.some((path) => path.includes("state"))).toBe(true)
    expect(hub.asked.some(({ authorization }) => authorization === `Bearer ${TOKEN}`)).toBe(true)
    for (const secret of [TOKEN, "signature=secret", bucket.env["AWS_SECRET_ACCESS_KEY"]!]) {
      expect(printed.filter((text) => text.includes(secret))).toEqual([])
      expect(kept.filter((path) => readFileSync(path).includes(secret))).toEqual([])
    }
  })
})
