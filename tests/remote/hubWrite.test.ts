/** Exports to the Hub: one commit by its own library, or nothing; a network that goes wrong meanwhile. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest"
import { families } from "../../routes/index.ts"
import { samples } from "../../routes/samples/index.ts"
import { writeSample } from "../../src/conformance/Sample.ts"
import { Disk } from "../../src/index.ts"
import { runCli } from "../cli/run.ts"
import { type FakeHub, startFakeHub, TOKEN } from "./fakeHub.ts"
import { treeOf } from "../trees.ts"
import { filesOf, unlike, WRITE_FAULTS } from "./faultedWrites.ts"

const work = mkdtempSync(join(tmpdir(), "hub-write-"))
const [hf, megatron, home] = [join(work, "hf"), join(work, "megatron"), join(work, "home")]
let hub: FakeHub
let expected: ReadonlyMap<string, Buffer>

const cli = (...args: ReadonlyArray<string>) => runCli([...args], { cwd: work })
const exporting = (target: string, ...more: ReadonlyArray<string>) => cli("export", "--hf-model", hf, "--megatron-path", megatron, "--hf-path", target, "--json", ...more)
const waiting = (): ReadonlyArray<string> => (existsSync(join(home, "megatron-mimo-bridge", "uploads")) ? readdirSync(join(home, "megatron-mimo-bridge", "uploads")) : [])

beforeAll(async () => {
  await Effect.runPromise(writeSample(families, samples["qwen3.5-vl"]!.tiny, hf, { overwrite: false }).pipe(Effect.provide(Disk.layer)))
  hub = await startFakeHub()
  for (const [name, value] of Object.entries({ HF_ENDPOINT: hub.endpoint, HF_HUB_OFFLINE: undefined, HF_HOME: home, HF_TOKEN: TOKEN, HF_HUB_DOWNLOAD_TIMEOUT: "0.2", XDG_STATE_HOME: join(work, "state") })) vi.stubEnv(name, value)
  expect((await cli("import", "--hf-model", hf, "--megatron-path", megatron, "-q")).code).toBe(0)
  expected = treeOf(hf)
})

afterAll(async () => {
  vi.unstubAllEnvs()
  await hub.close()
  rmSync(work, { recursive: true })
})

beforeEach(() => { hub.asked.length = 0 })
afterEach(() => {
  hub.spoil = undefined
  hub.repositories.clear()
})

describe("an export to the Hub", () => {
  it("is one commit of a repository that is made for it, private if asked for", async () => {
    const { code, out } = await exporting("hf://org/new", "--private")
    expect(code, out).toBe(0)
    expect(unlike(expected, filesOf(hub, "org/new"))).toEqual([])
    expect(hub.repositories.get("org/new")).toMatchObject({ private: true })
    expect(hub.asked.filter(({ url }) => url.includes("/commit/"))).toHaveLength(1)
    expect(hub.asked.filter(({ authorization, host }) => host === "cdn" && authorization !== undefined)).toEqual([])
    expect(out).toContain("one commit, ")
    expect(out).not.toContain(TOKEN)
    expect(waiting()).toEqual([])
    expect((await cli("verify", "--hf-model", "hf://org/new", "--megatron-path", megatron)).code).toBe(0)
  })

  it("can be a pull request", async () => {
    const files = new Map([["config.json", Buffer.from("{}")]])
    hub.repositories.set("org/model", { commit: "0".repeat(40), files })
    const { code, out } = await exporting("hf://org/model", "--create-pr")
    expect(code, out).toBe(0)
    expect(hub.repositories.get("org/model")!.files).toBe(files)
    expect(unlike(expected, hub.repositories.get("org/model")!.proposed![0] as ReadonlyMap<string, Buffer>)).toEqual([])
    expect(out).toContain("as the pull request")
  })

  it("is refused where a model is; --overwrite replaces it in the same commit, and leaves what is the repository's own", async () => {
    const files = new Map([["model-00001-of-00009.safetensors", Buffer.from("former")], ["README.md", Buffer.from("mine")]])
    hub.repositories.set("org/model", { commit: "0".repeat(40), files })
    const { code, out } = await exporting("hf://org/model")
    expect([code, JSON.parse(out).error.code]).toEqual([5, "output/exists"])
    expect((await exporting("hf://org/model", "--overwrite")).code).toBe(0)
    expect(unlike(new Map([...expected, ["README.md", Buffer.from("mine")]]), filesOf(hub, "org/model"))).toEqual([])
  })

  it("is refused before anything is done", async () => {
    hub.repositories.set("org/public", { commit: "0".repeat(40), files: new Map() })
    const codeOf = async (target: string, ...more: ReadonlyArray<string>): Promise<unknown> => JSON.parse((await exporting(target, ...more)).out).error.code
    expect(await codeOf("hf://org/public", "--private")).toBe("output/not-private")
    expect(await codeOf(`hf://org/public@${"0".repeat(40)}`)).toBe("place/hub")
    expect(await codeOf("hf://org/public@other")).toBe("hub/revision-not-found")
    expect(await codeOf(join(work, "here"), "--create-pr")).toBe("usage/flags")
    const { out } = await runCli(["export", "--hf-model", hf, "--megatron-path", megatron, "--hf-path", "hf://org/public", "--json"], { cwd: work, env: { HF_TOKEN: undefined } })
    expect(JSON.parse(out).error).toMatchObject({ code: "hub/no-access", hint: expect.stringContaining("HF_TOKEN") })
    expect(waiting()).toEqual([])
  })

  it("says what it would send, and where that waits", async () => {
    const { out } = await cli("export", "--hf-model", hf, "--megatron-path", megatron, "--hf-path", "hf://org/new", "--create-pr", "--dry-run")
    expect(out).toMatch(/one commit, as a pull request, of \d+ files \(0\.00 GB\)/)
    expect(out).toContain(home)
    expect(hub.asked).toEqual([])
  })

  it("gives way to another commit", async () => {
    hub.repositories.set("org/model", { commit: "0".repeat(40), files: new Map() })
    hub.spoil = ({ url }, _, usual) => {
      if (!url.includes("/commit/")) return false
      hub.repositories.set("org/model", { commit: "1".repeat(40), files: new Map([["theirs", Buffer.from("x")]]) })
      usual()
      return true
    }
    const { code, out } = await exporting("hf://org/model")
    expect([code, JSON.parse(out).error.code], out).toEqual([5, "output/changed"])
    expect([...filesOf(hub, "org/model").keys()]).toEqual(["theirs"])
    hub.spoil = undefined
    hub.repositories.set("org/model", { commit: "2".repeat(40), files: new Map() })
    expect((await exporting("hf://org/model", "--resume")).code).toBe(0)
    expect(unlike(expected, filesOf(hub, "org/model"))).toEqual([])
  })
})

describe("a network that goes wrong", () => {
  const places = { "the first look": "/api/models/org/model/revision", "the list of what is to be sent": "/preupload/", "a large file": "signature=secret", "the commit": "/commit/" }
  const spoiled = Object.entries(places).flatMap(([place, part]) =>
    WRITE_FAULTS.filter(({ name }) => /^(403|500|half upload|done, but the answer is lost|cut in mid-body)$/.test(name)).map((fault) => [place, fault.name, part, fault] as const))

  it.each(spoiled)("%s, %s: one commit, or an error and nothing", async (_, __, part, fault) => {
    hub.repositories.set("org/model", { commit: "0".repeat(40), files: new Map() })
    let left = 1
    hub.spoil = (asked, response, usual) => {
      if (!asked.url.includes(part) || left-- <= 0) return false
      fault.spoil(response, usual, asked)
      return true
    }
    const { code, out } = await exporting("hf://org/model")
    hub.spoil = undefined
    if (code !== 0) {
      expect(JSON.parse(out).error.kind, out).toMatch(/^(IoError|OutputRefused)$/)
      expect(filesOf(hub, "org/model").size).toBe(0)
      expect((await exporting("hf://org/model", "--resume")).code).toBe(0)
    }
    expect(unlike(expected, filesOf(hub, "org/model"))).toEqual([])
  })
})
