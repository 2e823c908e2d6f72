/** New weights to three replicas: all or none resumes, whatever fails, and the report says who has what. */
import { cpSync, existsSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { Effect } from "effect"
import { join } from "node:path"
import { beforeAll, describe, expect, it, onTestFinished } from "vitest"
import { type EngineSumsRequest, examineEngine, publishVersion, pushVersion, type PushRequest, verifyEngines } from "../../src/api/rollout.ts"
import type { BridgeError } from "../../src/errors.ts"
import { toPromise } from "../../src/io/attempt.ts"
import { Disk } from "../../src/io/Disk.ts"
import { type Engine, type EngineOptions, fakeSglang, fakeVllm, loaded, type Trouble } from "./engines.ts"
import { writeModel, writeNext } from "./models.ts"
import { workFolder } from "./workFolder.ts"

const work = workFolder("push")
const at = (name: string): string => join(work, name)
const run = <A>(effect: Effect.Effect<A, BridgeError, Disk>): Promise<A> => toPromise(Effect.provide(effect, Disk.layer))
/** 1: whole; 2: a delta; 3: whole. */
const root = at("versions")

beforeAll(async () => {
  writeModel(at("state1"), 1)
  writeNext(at("state1"), at("state2"), 0.02, 2)
  writeNext(at("state2"), at("state3"), 0.02, 3)
  for (const n of [1, 2, 3]) await run(publishVersion(at(`state${n}`), root, { full: n === 3 }))
})

const three = async (fake: typeof fakeSglang, options: EngineOptions = {}): Promise<ReadonlyArray<Engine>> => {
  const engines = await Promise.all([1, 2, 3].map(() => fake(at("state1"), options)))
  onTestFinished(async () => { for (const engine of engines) await engine.close() })
  return engines
}
const push = (engines: ReadonlyArray<Engine>, request: Partial<PushRequest> = {}) =>
  run(pushVersion(root, { engines: engines.map(({ url }) => url), quick: 20_000, slow: 20_000, ...request }))
const kinds = [["sglang", fakeSglang, {}], ["vllm", fakeVllm, {}], ["vllm in phases", fakeVllm, { phases: true }]] as const

describe.each(kinds)("%s", (name, fake, request) => {
  it("gets a whole version: paused, flushed, updated, confirmed by all, resumed", async () => {
    const engines = await three(fake)
    const { complete, replicas } = await push(engines, request)
    expect(complete).toBe(true)
    for (const engine of engines) {
      expect(engine.tensors).toEqual(loaded(at("state3")))
      expect([engine.version, engine.paused, engine.problems]).toEqual(["3", false, []])
    }
    expect(replicas.map(({ holds, paused, reached, version }) => [reached, version, holds, paused])).toEqual(Array(3).fill(["resume", "3", "new", false]))
  })

  it("gets a delta as a copy that is pulled here, under a name that it has not seen", async () => {
    const engines = await three(fake)
    const copy = at(`copy-${name}`)
    expect(await push(engines, { ...request, copy, version: 2 })).toMatchObject({ complete: true })
    expect(engines[1]!.tensors).toEqual(loaded(at("state2")))
    // And back.
    expect(await push(engines, { ...request, copy, version: 1 })).toMatchObject({ complete: true })
    for (const engine of engines) expect([engine.tensors, engine.version]).toEqual([loaded(at("state1")), "1"])
    expect(readdirSync(work).filter((other) => other.startsWith(`copy-${name}.v`))).toHaveLength(1)
  })
})

describe("sglang with /pull_weights", () => {
  /** Of a whole version; what deltas become is for `receivers.ts`. */
  const receive = (local: string, source: string, version: number): string | undefined => {
    const from = join(source, `weight_v${String(version).padStart(6, "0")}`)
    if (!existsSync(from)) return `no version ${version}`
    rmSync(local, { recursive: true, force: true })
    cpSync(from, local, { recursive: true })
    return undefined
  }

  it("brings its own copy to the version while it generates, and loads that", async () => {
    const engines = await three(fakeSglang, { receive })
    expect(await push(engines, { engineLocal: at("host") })).toMatchObject({ complete: true })
    for (const engine of engines) {
      expect([engine.tensors, engine.version, engine.paused, engine.problems]).toEqual([loaded(at("state3")), "3", false, []])
      expect(engine.calls.filter((route) => route.startsWith("/p"))).toEqual(["/pull_weights", "/pause_generation"])
    }
  })

  it("a host that cannot pull keeps all replicas as they were, and nobody was paused", async () => {
    const engines = await three(fakeSglang, { receive: (local, source, version) => (engines[1]!.calls.length > 0 ? "checksum mismatch" : receive(local, source, version)) })
    expect(await push(engines, { engineLocal: at("host-of-three") })).toMatchObject({ complete: false, failed: "prepare" })
    for (const engine of engines) expect([engine.tensors, engine.version, engine.calls.includes("/pause_generation")]).toEqual([loaded(at("state1")), "default", false])
  })
})

const ROUTES: Readonly<Record<string, ReadonlyArray<string>>> = {
  sglang: ["/pause_generation", "/update_weights_from_disk", "/get_weight_version", "/continue_generation"],
  vllm: ["/pause", "/reset_prefix_cache", "/collective_rpc", "/update_weight_version", "/weight_info", "/resume"],
  "vllm in phases": ["/init_weight_transfer_engine", "/start_weight_update", "/update_weights", "/finish_weight_update"]
}
/** A call that is not answered takes its time limit. */
const SLOW = new Set(["/update_weights_from_disk", "/collective_rpc", "/update_weights"])
const cases = kinds.flatMap(([name, fake, request]) => ROUTES[name]!.flatMap((route) =>
  (["error", "hangs", "cuts", "restarts"] as ReadonlyArray<Trouble>).filter((how) => how !== "hangs" || SLOW.has(route)).map((how) => [name, route, how, fake, request] as const)))

it.each(cases)("%s: one replica of three at %s %s: nobody serves what is not confirmed, and pushing again mends it", async (_name, route, how, fake, request) => {
  const engines = await three(fake)
  engines[1]!.trouble = { route, how }
  const report = await push(engines, { ...request, ...(how === "hangs" ? { slow: 1500 } : {}) })
  const resumed = engines.filter(({ calls }) => calls.includes("/continue_generation") || calls.includes("/resume"))
  if (report.complete) {
    // What a replica lost when it started anew came back before it was asked for its version.
    expect(how).toBe("restarts")
    for (const engine of engines) expect(engine.tensors).toEqual(loaded(at("state3")))
  } else {
    if (report.failed !== "resume") expect(resumed).toEqual([])
    expect(report.replicas.find(({ engine }) => engine === engines[1]!.url)!.problem).toBeDefined()
    expect(report.recovery.length).toBeGreaterThan(0)
    for (const { engine, holds, version } of report.replicas) {
      const own = engines.find(({ url }) => url === engine)!
      if (holds === "old") expect(own.tensors).toEqual(loaded(at("state1")))
      if (holds === "new" && version === "3" && how !== "restarts") expect(own.tensors).toEqual(loaded(at("state3")))
    }
  }
  expect(await push(engines, request)).toMatchObject({ complete: true })
  for (const engine of engines) expect([engine.tensors, engine.version, engine.paused]).toEqual([loaded(at("state3")), "3", false])
})

it("200 with the old version is found before anybody is resumed", async () => {
  const engines = await three(fakeSglang)
  engines[2]!.trouble = { route: "/update_weights_from_disk", how: "lies" }
  const report = await push(engines)
  expect(report).toMatchObject({ complete: false, failed: "confirm" })
  expect(report.replicas[2]).toMatchObject({ version: "default", holds: "unknown", paused: true })
  expect(engines.every(({ paused }) => paused)).toBe(true)
})

it("a flush is asked for again while requests are pending", async () => {
  const [engine] = await three(fakeSglang, { pending: 1 })
  expect(await push([engine!])).toMatchObject({ complete: true })
  expect(engine!.calls.filter((call) => call === "/flush_cache")).toHaveLength(2)
})

it("a token is sent with every call, from a file or a variable, and is in no message", async () => {
  const secret = "hf_verysecret"
  const engines = await three(fakeSglang, { token: secret })
  const failed = await push(engines).catch((error: unknown) => error as { code: string; message: string })
  expect(failed).toMatchObject({ code: "io/EACCES" })
  writeFileSync(at("token"), `Authorization: Bearer ${secret}\n`)
  const report = await push(engines, { authFile: at("token") } as never)
  expect(report.complete).toBe(true)
  engines[0]!.trouble = { route: "/pause_generation", how: "error" }
  expect(JSON.stringify([failed, report, await push(engines, { authFile: at("token") } as never)])).not.toContain(secret)
})

it("what cannot work is refused before anybody is paused", async () => {
  const engines = await three(fakeVllm)
  const refused = async (request: Partial<PushRequest>) => push(engines, request).then(() => undefined, (error: unknown) => (error as Error).message)
  expect(await refused({ version: 2 })).toContain("is a delta, which no engine loads as it is")
  expect(await refused({ engineLocal: "/local" })).toContain("vLLM pulls nothing itself")
  expect(await refused({ engines: ["http://user:secret@host"] })).toContain("must not hold a password")
  expect(engines.every(({ calls }) => calls.length === 0)).toBe(true)
  const production = await three(fakeVllm, { production: true })
  await expect(push(production)).rejects.toMatchObject({ message: expect.stringContaining("VLLM_SERVER_DEV_MODE=1") as string })
})

it("an engine says by which ways new weights can come to it", async () => {
  const [sglang] = await three(fakeSglang)
  const [vllm] = await three(fakeVllm)
  const [production] = await three(fakeVllm, { production: true })
  const of = async (engine: Engine) => run(examineEngine(engine.url))
  expect(await of(sglang!)).toMatchObject({ sound: true })
  expect((await of(sglang!)).found.find(({ code }) => code === "engine-pull")).toMatchObject({ severity: "note" })
  expect((await of(vllm!)).found.map(({ text }) => text)).toContain("vLLM, 4 ranks")
  expect(await of(production!)).toMatchObject({ sound: false })
  await sglang!.close()
  expect((await of(sglang!)).found).toEqual([expect.objectContaining({ code: "engine-silent", severity: "error" })])
})

describe.each([["vllm", fakeVllm], ["sglang", fakeSglang]] as const)("checksums of %s", (name, fake) => {
  const verify = (engines: ReadonlyArray<Engine>, more: Partial<EngineSumsRequest> = {}) => run(verifyEngines({ engines: engines.map(({ url }) => url), ...more }))

  it("tell whether replicas hold the same, and the same as before", async () => {
    const engines = await three(fake)
    const baseline = at(`baseline-${name}.json`)
    expect(await verify(engines, { baseline })).toMatchObject({ equal: true, sameVersion: true, baseline: { path: baseline, written: true } })
    expect(await push(engines)).toMatchObject({ complete: true })
    expect(await verify(engines)).toMatchObject({ equal: true, different: [] })
    // All have moved on: the same among them, and another than before.
    const moved = await verify(engines, { baseline })
    expect(moved).toMatchObject({ equal: false, sameVersion: true, baseline: { written: false } })
    expect(moved.different[0]!.engines).toEqual(engines.map(({ url }) => url))
    const [first] = engines[1]!.tensors.keys()
    engines[1]!.tensors.set(first!, "0".repeat(64))
    expect((await verify(engines)).different).toEqual([{ name: first, engines: [engines[1]!.url] }])
    engines[2]!.version = "2"
    expect(await verify(engines)).toMatchObject({ equal: false, sameVersion: false })
    const none = at(`none-${name}.json`)
    await verify(engines, { baseline: none })
    expect(existsSync(none)).toBe(false)
  })

  it("are refused by name where an engine gives none", async () => {
    const engines = await three(fake)
    await expect(verify(engines.slice(0, 1))).rejects.toMatchObject({ _tag: "UsageError" })
    if (name !== "vllm") return
    engines[0]!.paused = true
    await expect(verify(engines)).rejects.toMatchObject({ code: "unsupported/engine-checksums", message: expect.stringContaining("paused") as string })
    await expect(verify(await three(fakeVllm, { production: true }))).rejects.toMatchObject({ code: "unsupported/engine-checksums" })
  })
})
