/** Every document that a command prints with `--json` is what its published schema says: every field known, none besides. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { Effect } from "effect"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest"
import { z } from "zod"
import { inWorld } from "../../src/cluster/open.ts"
import { InvalidFile } from "../../src/errors.ts"
import { toPromise } from "../../src/io/attempt.ts"
import { Disk } from "../../src/io/Disk.ts"
import { streamServedWeights } from "../../src/index.ts"
import { errorDocument, eventLine } from "../../src/cli/documents/failures.ts"
import { documents } from "../../src/cli/documents/index.ts"
import { wholeRoot } from "../../src/cli/root.ts"
import { freePort } from "../cluster/harness/proxy.ts"
import { writeToy } from "../forward/toys.ts"
import { cliIn } from "./run.ts"
import { fakeSglang } from "../rollout/engines.ts"
import { writeModel } from "../rollout/models.ts"
import { trainingCheckpoint } from "../conformance/training.ts"

const work = mkdtempSync(join(tmpdir(), "documents-"))
const run = cliIn(work)
afterAll(() => rmSync(work, { recursive: true, force: true }))

beforeAll(async () => {
  for (const args of [
    ["sample", "hf", "-q"],
    ["import", "--hf-model", "hf", "--megatron-path", "mg", "-c", "language=tp=2", "-c", "images=tp=1", "-q"],
    ["import", "--hf-model", "hf", "--megatron-path", "half", "--torch-dtype", "float16", "-q"]
  ]) expect((await run(...args)).code).toBe(0)
  await writeToy("qwen3-yarn", join(work, "decoder"))
  cpSync(new URL("../fixtures/adapters/bridge-lora-tp1", import.meta.url), join(work, "llama"), { recursive: true })
  cpSync(trainingCheckpoint("lm-dp-reshardable-dp2"), join(work, "lm"), { recursive: true })
  for (const step of [1, 2]) cpSync(join(work, "lm", "iter_0000003"), join(work, "lm", `iter_000000${step}`), { recursive: true })
  // One bit of a data file.
  cpSync(join(work, "mg"), join(work, "damaged"), { recursive: true })
  const item = join(work, "damaged", "iter_0000000", "__0_0.distcp")
  const bytes = readFileSync(item)
  bytes[bytes.length >> 1]! ^= 1
  writeFileSync(item, bytes)
  rmSync(join(work, "half", "latest_train_state.pt"))
})

writeModel(join(work, "toy"), 1)
const engine = await fakeSglang(join(work, "toy"))
afterAll(() => engine.close())

type Command = keyof typeof documents

/** The schema as its readers get it. */
const published = (name: string): z.ZodType =>
  z.fromJSONSchema(JSON.parse(readFileSync(new URL(`../../docs/schemas/${name}.json`, import.meta.url), "utf8")) as Parameters<typeof z.fromJSONSchema>[0])

/** Every form of every document, with the exit code that it ends with. */
const lines: ReadonlyArray<readonly [line: string, exitCode: 0 | 1]> = [
  ["import --hf-model hf --megatron-path never --dry-run", 0],
  ["import --hf-model hf --megatron-path cast --torch-dtype float32 --standard --tp 2", 0],
  ["export --hf-model hf --megatron-path mg --hf-path never --dry-run", 0],
  ["export --hf-model hf --megatron-path mg --hf-path out --torch-dtype float16", 0],
  ["plan --hf-model hf", 0],
  ["publish hf versions --dry-run", 0],
  ["publish hf versions", 0],
  ["publish mg versions --hf-model hf --keep 2", 0],
  ["pull versions pulled", 0],
  ["publish toy toys", 0],
  [`push toys --engine ${engine.url}`, 0],
  [`doctor --engine ${engine.url}`, 0],
  ["plan --hf-model hf --megatron-path mg", 0],
  ["plan --hf-model hf --megatron-path mg --processes 3", 0],
  ["plan --hf-model hf -c language=tp=2 -c images=tp=1 --processes 3", 0],
  ["plan --hf-model hf -c language=pp=2,first_stage_layers=1 -c images=tp=1", 0],
  ["verify hf mg", 0],
  ["verify hf half", 1],
  ["verify --deep mg", 0],
  ["verify --deep damaged", 1],
  ["roundtrip --hf-model hf --dry-run", 0],
  ["roundtrip --hf-model hf --megatron-load-path half", 1],
  ["inspect hf", 0],
  ["inspect mg --chunks --stats", 0],
  ["inspect mg --summary", 0],
  ["inspect mg/iter_0000000/__0_0.distcp", 0],
  ["inspect mg/iter_0000000/common.pt", 0],
  ["diff hf mg", 0],
  ["diff hf half", 1],
  ["diff hf half --summary", 1],
  ["diff mg half --headers", 1],
  ["report hf mg -o page.html", 0],
  ["reshard mg recut --component language=tp=2 --component images=tp=1", 0],
  ["reshard lm never --tp 2 --dry-run", 0],
  ["merge-iterations lm averaged --iterations 1,2,3", 0],
  ["prune lm --keep-every 2 --drop optimizer", 0],
  ["prune lm --keep-every 2 --yes", 0],
  ["relabel mg standard --to standard --dry-run", 0],
  ["relabel mg standard --to standard --link", 0],
  ["uploads", 0],
  ["doctor", 0],
  ["doctor mg", 0],
  ["doctor half", 1],
  ["models", 0],
  ["sample tiny", 0],
  ["scaffold hf", 0],
  ["scaffold hf -o made/here.ts", 0],
  ["flops --hf-model hf --images 1*64x64 --reference", 0],
  ["flops --hf-model hf --standard --freeze images", 0],
  ["memory --hf-model hf -c language=tp=2 -c images=tp=1", 0],
  ["memory --hf-model hf --standard --tp 2 --reference", 0],
  ["layout --hf-model hf --images 0.5:none --images 0.5:1*64x64 --report layout.html", 0],
  ["layout --hf-model hf -c language=tp=2,cp=2 -c images=tp=1", 1],
  ["setup sft run --hf-model hf --images 1*64x64", 0],
  ["setup sft adapters --hf-model hf --mode lora", 0],
  ["import --hf-model hf --megatron-path planned --component auto --nodes 1 --dry-run", 0],
  ["adapter import --hf-model llama/base-hf --adapter llama/peft --megatron-path lora", 0],
  ["adapter export --hf-model llama/base-hf --megatron-path llama/checkpoint/iter_0000001 --hf-path peft --alpha 6 --dry-run", 0],
  ["adapter merge --hf-model llama/base-hf --adapter llama/peft --hf-path merged", 0],
  ["forward decoder --tokens 1,2,3", 0],
  ["forward decoder --tokens 1 --top 0 --compute simd", 0]
]

describe("results", () => {
  it.each(lines)("%s", async (line, exitCode) => {
    const args = line.split(" ")
    const { code, err, out } = await run(...args, "--json")
    expect([code, err]).toEqual([exitCode, ""])
    const document: unknown = JSON.parse(out)
    expect(document).toMatchObject({ ok: true, command: args[0], exitCode })
    expect((documents[args[0] as Command] as z.ZodType).parse(document)).toEqual(document)
    expect(published(args[0]!).safeParse(document).error).toBeUndefined()
  })

  it("serve hf --consumers 1", async () => {
    const port = await freePort()
    vi.stubEnv("MEGATRON_MIMO_TOKEN", "a-token-of-sixteen-characters")
    onTestFinished(() => { vi.unstubAllEnvs() })
    const served = run("serve", "hf", "--consumers", "1", "--gather", "0", "--listen", `127.0.0.1:${port}`, "--json")
    for await (const _ of streamServedWeights(`ws://127.0.0.1:${port}/`, { retries: 20 })) continue
    const { code, err, out } = await served
    expect([code, JSON.parse(err)]).toEqual([0, expect.objectContaining({ event: "listening", url: `ws://127.0.0.1:${port}/` })])
    const document: unknown = JSON.parse(out)
    expect(documents.serve.parse(document)).toMatchObject({ ok: true, command: "serve", complete: 1 })
    expect(published("serve").safeParse(document).error).toBeUndefined()
  })

  it("of every command are among them", async () => {
    const commands = (await wholeRoot()).subcommands.flatMap((group) => group.commands.map((command) => command.name)).filter((name) => name !== "help" && name !== "version")
    expect(Object.keys(documents).sort()).toEqual([...commands].sort())
    expect([...new Set([...lines.map(([line]) => line.split(" ")[0]), "serve"])].sort()).toEqual([...commands].sort())
  })
})

describe("failures", () => {
  it.each([
    ["nonsense hf", 2],
    ["import --hf-mode hf", 2],
    ["import --hf-model hf --megatron-path mg", 5],
    ["inspect nowhere", 3],
    ["plan --hf-model hf --max-memory", 2],
    ["relabel mg never --to hybrid", 4]
  ] as const)("%s", async (line, exitCode) => {
    const { code, err, out } = await run(...line.split(" "), "--json")
    expect([code, err]).toEqual([exitCode, ""])
    const document: unknown = JSON.parse(out)
    expect(document).toMatchObject({ ok: false, command: line.split(" ")[0], exitCode, error: { exitCode } })
    expect(errorDocument.parse(document)).toEqual(document)
    expect(published("error").safeParse(document).error).toBeUndefined()
  })
})

it("a process that stopped for another one says which, and why", async () => {
  vi.stubEnv("MEGATRON_MIMO_RUN_ID", "documents")
  onTestFinished(() => { vi.unstubAllEnvs() })
  const first = toPromise(inWorld(
    { launch: { rank: 0, worldSize: 2, launcher: "flags", runId: "documents", attempt: 0 }, rendezvous: `directory:${work}`, directory: work, plan: "verify --deep" },
    Effect.fail(new InvalidFile({ path: "a.safetensors", code: "safetensors/length", problem: "ends early", place: { tensor: "w" } }))
  ).pipe(Effect.provide(Disk.layer))).catch((error: unknown) => error)
  const { code, err, out } = await run("verify", "--deep", "mg", "--rank", "1", "--world-size", "2", "--rendezvous", `directory:${work}`, "--json")
  expect(await first).toBeInstanceOf(InvalidFile)
  expect([code, err]).toEqual([9, ""])
  const document: unknown = JSON.parse(out)
  expect(document).toMatchObject({ error: { kind: "PeerFailed", peer: { rank: 0, host: hostname(), code: "safetensors/length", exitCode: 3, file: "a.safetensors", tensor: "w" } } })
  expect(errorDocument.parse(document)).toEqual(document)
})

it("lines of --json-events", async () => {
  const { code, err } = await run("import", "--hf-model", "hf", "--megatron-path", "told", "--json-events", "-q")
  expect(code).toBe(0)
  const events = err.trimEnd().split("\n").map((line) => eventLine.parse(JSON.parse(line)))
  expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(["start", "end"]))
})

it("a published schema refuses what is no such document, and passes over fields that came later", () => {
  const right = { ok: true, command: "report", schema: 1, exitCode: 0, files: ["page.html"] }
  expect(published("report").safeParse({ ...right, later: 1 }).success).toBe(true)
  for (const wrong of [{ ...right, files: 1 }, { ...right, command: "plan" }, { ok: true }]) expect(published("report").safeParse(wrong).success).toBe(false)
})

it("every document has a published schema", () => {
  for (const name of [...Object.keys(documents), "error", "event"]) {
    const path = new URL(`../../docs/schemas/${name}.json`, import.meta.url).pathname
    expect(existsSync(path), name).toBe(true)
    expect(JSON.parse(readFileSync(path, "utf8"))).toMatchObject({ $schema: expect.stringContaining("json-schema.org") })
  }
})
