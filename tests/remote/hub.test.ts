/** Models read from a Hub: by name and by address, by ranges, with the errors that the Hub gives; with a network that does everything wrong. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk } from "../../src/index.ts"
import { runCli as cli } from "../cli/run.ts"
import { type FakeHub, startFakeHub, TOKEN } from "./fakeHub.ts"
import { FAULTS } from "./faults.ts"
import { faulted, importFrom } from "./faultedRuns.ts"
import { treeOf } from "../trees.ts"

const COMMIT = "0123456789abcdef0123456789abcdef01234567"
const work = mkdtempSync(join(tmpdir(), "hub-"))
const [hf, local, target] = [join(work, "hf"), join(work, "local"), join(work, "target")]
let hub: FakeHub
let env: Record<string, string | undefined>

beforeAll(async () => {
  await Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, hf, { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  hub = await startFakeHub()
  const files = treeOf(hf)
  hub.repositories.set("org/model", { commit: COMMIT, files, refs: new Map([["v1", COMMIT]]) })
  hub.repositories.set("org/gated", { commit: COMMIT, files, gated: true })
  hub.repositories.set("org/private", { commit: COMMIT, files, private: true })
  env = { HF_ENDPOINT: hub.endpoint, HF_HUB_OFFLINE: undefined, HF_HOME: join(work, "home"), HF_TOKEN: TOKEN }
  for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
  await importFrom(hf, local)
})

afterAll(async () => {
  vi.unstubAllEnvs()
  await hub.close()
  rmSync(work, { recursive: true })
})

describe("a model of the Hub", () => {
  it.each(["org/model", "org/model@v1", `org/model@${COMMIT}`, "hf://org/model", "hf://org/model@v1"])("%s is imported as the same model on the disk is", async (name) => {
    rmSync(target, { recursive: true, force: true })
    await importFrom(name, target)
    expect(treeOf(target)).toEqual(treeOf(local))
  })

  it("is looked at by its headers, each in one read of the content", async () => {
    hub.asked.length = 0
    const { code, out } = await cli(["inspect", "hf://org/model", "--json"], { env })
    expect(code, out).toBe(0)
    const reads = hub.asked.filter(({ host }) => host === "cdn")
    const shards = [...hub.repositories.get("org/model")!.files.keys()].filter((name) => name.endsWith(".safetensors"))
    expect(reads).toHaveLength(shards.length)
    expect(reads.every(({ authorization, range }) => authorization === undefined && range !== undefined)).toBe(true)
  })

  it.each([
    ["hf://org/none", "hub/repository-not-found", 3],
    ["hf://org/model@v9", "hub/revision-not-found", 3],
    ["hf://org", "usage/place", 2]
  ])("%s: %s", async (name, code, exit) => {
    const found = await cli(["inspect", name, "--json"], { env })
    expect(JSON.parse(found.out).error).toMatchObject({ code })
    expect(found.code).toBe(exit)
  })

  it("that is gated or private says so, and what to do, without a token; the token is in no output", async () => {
    const gated = await cli(["inspect", "hf://org/gated"], { env: { ...env, HF_TOKEN: undefined } })
    expect(gated.err).toMatch(/is gated: .*\n {2}Accept them on .*HF_TOKEN/)
    const hidden = await cli(["inspect", "hf://org/private"], { env: { ...env, HF_TOKEN: undefined } })
    expect(hidden.err).toMatch(/or it is private\n {2}For a private one: no token was sent/)
    const open = await cli(["inspect", "hf://org/private", "--json", "--log-level", "debug"], { env })
    expect(open.code).toBe(0)
    expect(open.out + open.err).not.toContain(TOKEN)
  })

  it("whose signed addresses end in the middle is read on with new ones", async () => {
    rmSync(target, { recursive: true, force: true })
    let reads = 0
    hub.spoil = ({ host }) => {
      if (host === "cdn" && ++reads === 5) hub.expire()
      return false
    }
    await importFrom("org/model", target)
    hub.spoil = undefined
    expect(reads).toBeGreaterThan(5)
    expect(treeOf(target)).toEqual(treeOf(local))
  })
})

describe("a network that goes wrong", () => {
  it.each(FAULTS.map((fault) => [fault.name, fault] as const))("%s: the same bytes, or an error and nothing", async (_, fault) => {
    // Every place is tried by `npm run remote:faults`.
    expect(await faulted(hub, "hf://org/model", target, treeOf(local), fault, 9, false), "once, at request 9").toBeUndefined()
    expect(await faulted(hub, "hf://org/model", target, treeOf(local), fault, 5, true), "from request 5 on").toBeUndefined()
  })
})
