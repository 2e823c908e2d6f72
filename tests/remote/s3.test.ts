/** Models and checkpoints in a bucket, read through AWS's own client from an emulator, behind a proxy that does everything wrong. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PutObjectCommand, CreateBucketCommand, S3Client } from "@aws-sdk/client-s3"
import { Effect } from "effect"
import { type FauxqsServer, startFauxqs } from "fauxqs"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk } from "../../src/index.ts"
import { runCli } from "../cli/run.ts"
import { FAULTS } from "./faults.ts"
import { faulted, importFrom } from "./faultedRuns.ts"
import { treeOf } from "../trees.ts"
import { type SpoilingProxy, startProxy } from "./spoiling.ts"

const work = mkdtempSync(join(tmpdir(), "s3-"))
const [hf, local, target] = [join(work, "hf"), join(work, "local"), join(work, "target")]
let server: FauxqsServer
let proxy: SpoilingProxy

beforeAll(async () => {
  await Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, hf, { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  server = await startFauxqs({ port: 0, logger: false })
  proxy = await startProxy(server.port)
  const env = { AWS_ENDPOINT_URL_S3: proxy.endpoint, AWS_ACCESS_KEY_ID: "key-of-the-tests", AWS_SECRET_ACCESS_KEY: "secret-of-the-tests", AWS_REGION: "us-east-1" }
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  await importFrom(hf, local)
  const s3 = new S3Client({ endpoint: `http://127.0.0.1:${server.port}`, region: "us-east-1", forcePathStyle: true })
  await s3.send(new CreateBucketCommand({ Bucket: "models" }))
  for (const [folder, tree] of [["org/model", treeOf(hf)], ["megatron", treeOf(local)]] as const) {
    for (const [name, bytes] of tree) await s3.send(new PutObjectCommand({ Bucket: "models", Key: `${folder}/${name}`, Body: bytes }))
  }
  s3.destroy()
})

afterAll(async () => {
  vi.unstubAllEnvs()
  await proxy.close()
  await server.stop()
  rmSync(work, { recursive: true })
})

describe("a bucket", () => {
  it("holds a model that is imported as the same model on the disk is", async () => {
    await importFrom("s3://models/org/model", target)
    expect(treeOf(target)).toEqual(treeOf(local))
  })

  it("holds a checkpoint that is looked at, compared and exported", async () => {
    const seen = await runCli(["inspect", "s3://models/megatron", "--summary", "--json"])
    expect(seen.code, seen.out).toBe(0)
    expect((await runCli(["verify", "--hf-model", hf, "--megatron-path", "s3://models/megatron"])).err).toBe("")
    expect((await runCli(["diff", hf, "s3://models/org/model"])).code).toBe(0)
    expect((await runCli(["diff", "s3://models/megatron", local])).code).toBe(0)
    const out = join(work, "out")
    const { code, err } = await runCli(["export", "--hf-model", "s3://models/org/model", "--megatron-path", "s3://models/megatron", "--hf-path", out, "--quiet"])
    expect(code, err).toBe(0)
    expect(treeOf(out)).toEqual(treeOf(hf))
  })

  it.each([
    ["s3://models/nothing", "does not exist"],
    ["s3://no-such-bucket/model", "does not exist"],
    ["s3://M/model", "names no bucket"]
  ])("%s: %s", async (path, words) => {
    const { code, err } = await runCli(["inspect", path])
    expect(code).toBeGreaterThan(0)
    expect(err).toContain(words)
    expect(err).toContain(path)
  })
})

describe("a network that goes wrong", () => {
  // What the client follows and unpacks by itself is its own business.
  it.each(FAULTS.filter(({ name }) => !name.startsWith("redirect")).map((fault) => [fault.name, fault] as const))("%s: the same bytes, or an error and nothing", async (_, fault) => {
    expect(await faulted(proxy, "s3://models/org/model", target, treeOf(local), fault, 15, false), "once, at request 15").toBeUndefined()
    expect(await faulted(proxy, "s3://models/org/model", target, treeOf(local), fault, 10, true), "from request 10 on").toBeUndefined()
  })
})
