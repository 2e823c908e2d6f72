/** Merges by several processes (here in one): the same bytes as by one, whatever is merged into. */
import { Effect } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { openBase } from "../../src/adapters/BaseModel.ts"
import { importMerged, mergeAdapters } from "../../src/api/adapters.ts"
import { AutoBridge } from "../../src/index.ts"
import { quickDisk } from "../hostile/run.ts"
import { everywhere, folder, SHORT } from "../cluster/harness/worlds.ts"
import { filesIn } from "./filesIn.ts"
import { groupsOf, writeRandomAdapter } from "./randomAdapter.ts"

const HF = new URL("../fixtures/adapters/bridge-lora-tp1/base-hf", import.meta.url).pathname
const work = mkdtempSync(join(tmpdir(), "merged-together-"))
afterAll(() => rmSync(work, { recursive: true }))
const [base, lora, dora] = ["base", "lora", "dora"].map((name) => join(work, name)) as [string, string, string]

beforeAll(() => Effect.runPromise(Effect.gen(function*() {
  const groups = groupsOf((yield* openBase(families, HF)).as("standard").conversion.parameters)
  for (const [directory, isDora] of [[lora, false], [dora, true]] as const) writeRandomAdapter(directory, groups, () => "last", { seed: 7, rank: 3, sharedInput: false, dora: isDora })
  yield* (yield* AutoBridge.fromHfPretrained(HF, { tp: 2 })).importCheckpoint(base)
}).pipe(Effect.provide(quickDisk))))

const adapters = [lora, dora].map((path) => ({ path, weight: 1 }))
const ways = [
  ["a directory", (target: string, at: number) => mergeAdapters(HF, target, { adapters: [adapters[at]!] })],
  ["a checkpoint that an import would make", (target: string, at: number) => importMerged(HF, target, { adapters: [adapters[at]!], tp: 2 })],
  ["a checkpoint as it is stored", (target: string, at: number) => importMerged(HF, target, { adapters: [adapters[at]!], pretrained: base })]
] as const

it.each(ways.flatMap(([name, merge]) => ["LoRA", "DoRA"].map((kind, at) => [kind, name, merge, at] as const)))("%s into %s", async (kind, name, merge, at) => {
  const [alone, together] = ["alone", "together"].map((d) => join(work, `${kind} ${name} ${d}`)) as [string, string]
  await Effect.runPromise(Effect.provide(merge(alone, at), quickDisk))
  const directory = folder()
  for (const end of await everywhere(3, () => merge(together, at), () => ({ directory, limits: { ...SHORT, beat: 1000, silence: 30_000, planning: 30_000, step: 60_000 } }))) if (end instanceof Error) throw end
  const [one, three] = [filesIn(alone), filesIn(together)]
  expect([...three.keys()].sort()).toEqual([...one.keys()].sort())
  for (const [file, bytes] of one) expect(three.get(file)!.equals(bytes), file).toBe(true)
})
