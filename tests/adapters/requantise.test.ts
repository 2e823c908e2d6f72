/** Merges into quantised bases: refused unless asked for; then codes and scales mean what a merge into values gives, but for their rounding. */
import { Effect } from "effect"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { openBase } from "../../src/adapters/BaseModel.ts"
import { inputAxisOf } from "../../src/adapters/inputAxis.ts"
import { mergeAdapters } from "../../src/api/adapters.ts"
import { widened } from "../../src/arithmetic/convert.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { AutoBridge } from "../../src/index.ts"
import type { Disk } from "../../src/io/Disk.ts"
import { toys } from "../families/toys.ts"
import { quickDisk } from "../hostile/run.ts"
import { parseHeader } from "./header.ts"
import { groupsOf, writeRandomAdapter } from "./randomAdapter.ts"

const work = mkdtempSync(join(tmpdir(), "requantise-"))
afterAll(() => rmSync(work, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, quickDisk))

const tensorsIn = (directory: string) =>
  new Map(readdirSync(directory).filter((name) => name.endsWith(".safetensors")).flatMap((name) => parseHeader(readFileSync(join(directory, name)))).map((t) => [t.name, t]))

const madeOf = async (name: string) => {
  const directory = join(work, name)
  const toy = toys.find((t) => t.name === name)!
  const path = (of: string) => join(directory, of)
  mkdirSync(directory)
  await run(writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config: toy.config, configText: toy.configText, tensors: [...toy.tensors] } }, path("hf")))
  const { conversion: { parameters } } = (await run(openBase(families, path("hf")))).as("auto")
  writeRandomAdapter(path("adapter"), groupsOf(parameters), inputAxisOf(parameters, "last"), { seed: 3, rank: 2, sharedInput: true, share: 7 })
  return { path, adapters: [{ path: path("adapter"), weight: 1 }] }
}

const asValues = (from: string, megatron: string) => run(Effect.flatMap(AutoBridge.fromHfPretrained(from), (bridge) => bridge.importCheckpoint(megatron)))

describe.each(["minimax-m2-fp8-a", "ministral3-fp8-a"])("%s", (name) => {
  it("is merged into codes and scales where that is asked for", async () => {
    const { adapters, path } = await madeOf(name)
    const refused = await run(Effect.flip(mergeAdapters(path("hf"), path("never"), { adapters })))
    expect(refused.code).toBe("unsupported/quantised")
    expect(refused.hint).toContain("--requantize")

    const report = await run(mergeAdapters(path("hf"), path("merged"), { adapters, requantize: true }))
    expect(report.requantised.map(({ form }) => form.slice(0, 8))).toEqual(["FP8 E4M3"])
    await run(mergeAdapters(path("hf"), path("same"), { adapters: [{ ...adapters[0]!, weight: 0 }], requantize: true }))
    const [before, same] = [tensorsIn(path("hf")), tensorsIn(path("same"))]
    expect([...before].flatMap(([tensor, { bytes }]) => (Buffer.compare(same.get(tensor)!.bytes, bytes) === 0 ? [] : [tensor]))).toEqual([])
    expect(readFileSync(join(path("merged"), "config.json"), "utf8")).toBe(readFileSync(join(path("hf"), "config.json"), "utf8"))

    await asValues(path("hf"), path("base"))
    await run(mergeAdapters(path("hf"), path("values"), { adapters, pretrained: path("base") }))
    await asValues(path("merged"), path("megatron"))
    await run(Effect.flatMap(AutoBridge.fromHfPretrained(path("hf")), (bridge) => bridge.exportCheckpoint(path("megatron"), path("meant"))))
    const [values, meant] = [tensorsIn(path("values")), tensorsIn(path("meant"))]
    expect([...meant.keys()]).toEqual([...values.keys()])
    const wrong: Array<string> = []
    let rounded = 0
    for (const [tensor, { bytes }] of meant) {
      const wanted = values.get(tensor)!
      if (!before.get(tensor)?.dtype.startsWith("F8")) {
        if (Buffer.compare(bytes, wanted.bytes) !== 0) wrong.push(tensor)
        continue
      }
      const [found, exact] = [widened({ dtype: "BF16", bytes }), widened({ dtype: "BF16", bytes: wanted.bytes })]
      const largest = exact.reduce((most, x) => Math.max(most, Math.abs(x)), 0)
      rounded += found.filter((x, i) => x !== exact[i]).length
      if (found.some((x, i) => Math.abs(x - exact[i]!) > Math.abs(exact[i]!) / 15 + largest * 2 ** -18)) wrong.push(tensor)
    }
    expect(wrong).toEqual([])
    expect(rounded).toBeGreaterThan(0)
  })
})

it("codes of 4 bits are refused by name, whatever is asked for", async () => {
  const { adapters, path } = await madeOf("gpt-oss-mxfp4-a")
  const error = await run(Effect.flip(mergeAdapters(path("hf"), path("never"), { adapters, requantize: true })))
  expect(error.code).toBe("unsupported/quantised")
  expect(error.message).toMatch(/experts\.(gate_up|down)_proj \(FP4 E2M1.*4 bits/)
})
