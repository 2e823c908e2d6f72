/** Adapters of every family with a test model: peft → Megatron → peft gives the same files, for random ranks, targets and layouts. */
import { Effect } from "effect"
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, it } from "vitest"
import { families } from "../../routes/index.ts"
import { openBase } from "../../src/adapters/BaseModel.ts"
import { inputAxisOf } from "../../src/adapters/inputAxis.ts"
import { exportAdapter, importAdapter } from "../../src/api/adapters.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import type { Disk } from "../../src/io/Disk.ts"
import { quickDisk } from "../hostile/run.ts"
import { toys } from "../families/toys.ts"
import { groupsOf, writeRandomAdapter } from "./randomAdapter.ts"

const work = mkdtempSync(join(tmpdir(), "adapters-"))
afterAll(() => rmSync(work, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, quickDisk))

const cases = toys.map((toy, seed) => [toy.name, toy, seed] as const)

describe.concurrent.each(cases)("%s", (name, toy, seed) => {
  it("gives adapters back byte for byte", async ({ expect }) => {
    const directory = join(work, name.replace(/\W/g, "-"))
    const hf = join(directory, "hf")
    mkdirSync(directory)
    await run(writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config: toy.config, configText: toy.configText, tensors: [...toy.tensors] } }, hf))
    const { conversion } = (await run(openBase(families, hf))).as("auto")
    // One A for all parts of a weight, or one each; all modules or some.
    const form = seed % 2 === 0 ? { sharedInput: seed % 4 === 0, share: 10, rank: 2 } : { sharedInput: seed % 4 === 1, share: 4 + (seed % 5), rank: 1 + (seed % 5) }
    const [adapter, megatron, exported] = ["adapter", "megatron", "exported"].map((d) => join(directory, d)) as [string, string, string]
    writeRandomAdapter(adapter, groupsOf(conversion.parameters), inputAxisOf(conversion.parameters, "last"), { seed: seed + 1, ...form })
    const layout = seed % 6 === 0 ? { tp: 2 } : seed % 6 === 3 ? { standard: true } : {}
    await run(importAdapter(hf, adapter, megatron, layout).pipe(Effect.catchIf(({ code }) => code === "usage/layout", () => importAdapter(hf, adapter, megatron))))
    await run(exportAdapter(hf, megatron, exported))
    for (const file of ["adapter_config.json", "adapter_model.safetensors"]) {
      expect(readFileSync(join(exported, file)).equals(readFileSync(join(adapter, file))), file).toBe(true)
    }
  })
})
