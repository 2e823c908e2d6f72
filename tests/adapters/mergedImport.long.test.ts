/**
 * A merge that is written as a Megatron checkpoint is, byte for byte, the import of the merged model, whether the base is a directory or a
 * Megatron checkpoint: every family with a test model, either form.
 */
import { Effect, Result } from "effect"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, it } from "vitest"
import { families } from "../../routes/index.ts"
import { openBase } from "../../src/adapters/BaseModel.ts"
import { inputAxisOf } from "../../src/adapters/inputAxis.ts"
import { importMerged, mergeAdapters } from "../../src/api/adapters.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { AutoBridge, MegatronMimoBridge } from "../../src/index.ts"
import type { Disk } from "../../src/io/Disk.ts"
import { quickDisk } from "../hostile/run.ts"
import { toys } from "../families/toys.ts"
import { filesIn } from "./filesIn.ts"
import { groupsOf, writeRandomAdapter } from "./randomAdapter.ts"

const work = mkdtempSync(join(tmpdir(), "merged-"))
afterAll(() => rmSync(work, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, quickDisk))

interface Layout {
  readonly tp?: number
  readonly standard?: boolean
  readonly components?: ReadonlyArray<string>
}

/** One of each kind of difficulty, and every twelfth; with EVERY_TOY=1 all of them. */
const kinds = ["qwen3.5-vl-tied-a", "gpt-oss-a", "gpt-oss-mxfp4-a", "gemma-4-vl-a", "qwen3-vl-moe-a", "llama-nemotron-a", "deepseek-v2-a"]
const cases = toys.map((toy, seed) => [toy.name, toy, seed] as const)
  .filter(([name, , seed]) => process.env["EVERY_TOY"] === "1" || seed % 12 === 0 || kinds.includes(name))

describe.concurrent.each(cases)("%s", (name, toy, seed) => {
  it("is the import of the merged model", async ({ expect }) => {
    const directory = join(work, name.replace(/\W/g, "-"))
    const [hf, adapter, merged, wanted, made, base, stored] = ["hf", "adapter", "merged", "wanted", "made", "base", "stored"].map((d) => join(directory, d)) as [string, string, string, string, string, string, string]
    mkdirSync(directory)
    await run(writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config: toy.config, configText: toy.configText, tensors: [...toy.tensors] } }, hf))
    const { conversion, form, modules } = (await run(openBase(families, hf))).as("auto")
    const groups = groupsOf(conversion.parameters)
    // DoRA is for modules, not for parameters.
    const dora = seed % 3 === 0 && groups.flat().every(({ expert, tensor }) => expert === undefined && tensor.endsWith(".weight"))
    writeRandomAdapter(adapter, groups, inputAxisOf(conversion.parameters, "last"), { seed: seed + 1, rank: 1 + (seed % 4), sharedInput: seed % 2 === 0, share: dora ? 10 : 6, dora })
    const options = { adapters: [{ path: adapter, weight: 1 }], order: (["bridge", "peft", "precise"] as const)[seed % 3]! }
    const imported = (from: string, to: string, { components, ...layout }: Layout) => run(components
      ? Effect.flatMap(MegatronMimoBridge.fromHfPretrained(from, { components }), (bridge) => bridge.importCheckpoint(to))
      : Effect.flatMap(AutoBridge.fromHfPretrained(from, layout), (bridge) => bridge.importCheckpoint(to)))
    const outcome = await run(Effect.result(mergeAdapters(hf, merged, options)))
    const isQuantised = Result.isFailure(outcome)
    if (isQuantised) expect(outcome.failure.code).toBe("unsupported/quantised")
    const usual: Layout = form === "mimo" && seed % 4 > 0 ? { components: modules.map((m) => `${m.name}=tp=1`) } : { tp: 2 }
    const layout = await imported(hf, base, usual).then(() => usual, () => imported(hf, base, { standard: true }).then(() => ({ standard: true })))
    // Of a quantised base the values are merged into, which a checkpoint has.
    if (isQuantised) await run(mergeAdapters(hf, merged, { ...options, pretrained: base }))
    await imported(merged, wanted, layout)
    await run(importMerged(hf, made, { ...options, ...layout }))
    await run(importMerged(hf, stored, { ...options, pretrained: base }))
    const [a, b, c] = [wanted, made, stored].map(filesIn) as [ReturnType<typeof filesIn>, ReturnType<typeof filesIn>, ReturnType<typeof filesIn>]
    for (const other of [b, c]) {
      expect([...other.keys()].sort()).toEqual([...a.keys()].sort())
      for (const [file, bytes] of a) expect(other.get(file)!.equals(bytes), file).toBe(true)
    }
    rmSync(directory, { recursive: true })
  })
})
