/** An adapter of a test model there and back: peft → Megatron → peft gives the same files, for random ranks, targets and layouts; what is said of either is the same. */
import { Effect } from "effect"
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { type BaseModel, openBase } from "../../src/adapters/BaseModel.ts"
import { factorsOf, isLinearWeight } from "../../src/adapters/factors.ts"
import { inputAxisOf } from "../../src/adapters/inputAxis.ts"
import { loadAdapter } from "../../src/adapters/merge/loadAdapter.ts"
import { ORIGIN } from "../../src/adapters/origin.ts"
import type { Matrix } from "../../src/adapters/merge/Term.ts"
import type { AdapterFacts } from "../../src/adapters/survey/AdapterFacts.ts"
import { surveyAdapters } from "../../src/adapters/survey/survey.ts"
import { exportAdapter, importAdapter } from "../../src/api/adapters.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { widened } from "../../src/arithmetic/convert.ts"
import { adapterTraps } from "../../src/doctor/adapters.ts"
import { openSpace } from "../../src/space/openSpace.ts"
import { verify } from "../../src/api/verification.ts"
import { brokenRules } from "./engineRules.ts"
import { parseHeader } from "./header.ts"
import type { Disk } from "../../src/io/Disk.ts"
import { quickDisk } from "../hostile/run.ts"
import { toys } from "../families/toys.ts"
import { groupsOf, writeRandomAdapter } from "./randomAdapter.ts"

declare module "vitest" {
  interface Assertion {
    readonly toBeCloseToRelative: (wanted: number) => void
  }
}

const work = mkdtempSync(join(tmpdir(), "adapters-"))
afterAll(() => rmSync(work, { recursive: true }))

const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, quickDisk))

expect.extend({
  toBeCloseToRelative: (got: number, wanted: number) => ({ pass: Math.abs(got - wanted) <= 2e-4 * Math.abs(wanted), message: () => `${got} is not close to ${wanted}` })
})

const surveyed = (path: string) => Effect.flatMap(openSpace(path, families), (space) => Effect.map(surveyAdapters(space, { norms: true }), (facts) => facts!))

/** Errors that doctor sees. */
const traps = (facts: AdapterFacts): ReadonlyArray<string> => adapterTraps(facts).filter(({ severity }) => severity === "error").map(({ code, text }) => `${code}: ${text}`)

const sum = (numbers: Iterable<number>): number => Iterator.from(numbers).reduce((a, b) => a + b, 0)
const sumOf = ({ modules }: AdapterFacts): number => sum(modules.map(({ norm }) => norm! ** 2))

const numbersOf = ({ bytes, dtype }: Matrix): Float32Array => widened({ bytes, dtype })

/** Squares of the norms of all changes, by HF tensor, element by element. */
const changeNorms = (base: BaseModel, path: string) => Effect.map(loadAdapter(base, { path, weight: 1 }, "last"), ({ termOf }) => {
  const squares = new Map<string, number>()
  const seen = new Set<string>()
  for (const { matrix } of base.as("standard").conversion.parameters.filter(isLinearWeight).flatMap(factorsOf)) {
    const id = `${matrix.tensor} ${matrix.expert?.index ?? 0}`
    const term = seen.has(id) ? undefined : termOf(matrix)
    seen.add(id)
    if (!term) continue
    const [a, b] = [numbersOf(term.a), numbersOf(term.b)]
    let square = 0
    for (let i = 0; i < term.b.rows; i++) {
      for (let j = 0; j < term.a.columns; j++) {
        let dot = 0
        for (let k = 0; k < term.a.rows; k++) dot += b[i * term.a.rows + k]! * a[k * term.a.columns + j]!
        square += (term.scale * dot) ** 2
      }
    }
    squares.set(matrix.tensor, (squares.get(matrix.tensor) ?? 0) + square)
  }
  return squares
})

const cases = toys.map((toy, seed) => [toy.name, toy, seed] as const)

/** Every `nth` test model. */
export const testRoundTrips = (nth: number): void => describe.concurrent.each(cases.filter(([, , seed]) => seed % nth === 0))("%s", (name, toy, seed) => {
  it("gives adapters back byte for byte", async ({ expect }) => {
    const directory = join(work, name.replace(/\W/g, "-"))
    const hf = join(directory, "hf")
    mkdirSync(directory)
    await run(writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config: toy.config, configText: toy.configText, tensors: [...toy.tensors] } }, hf))
    const base = await run(openBase(families, hf))
    const { conversion } = base.as("auto")
    // One A for all parts of a weight, or one each; all modules or some; of some weights a part only.
    const form = seed % 2 === 0 ? { sharedInput: seed % 4 === 0, share: 10, rank: 2 } : { sharedInput: seed % 4 === 1, share: 4 + (seed % 5), rank: 1 + (seed % 5) }
    const [adapter, megatron, exported] = ["adapter", "megatron", "exported"].map((d) => join(directory, d)) as [string, string, string]
    writeRandomAdapter(adapter, groupsOf(conversion.parameters), inputAxisOf(conversion.parameters, "last"), { seed: seed + 1, partial: seed % 3 > 0, ...form })
    const layout = seed % 6 === 0 ? { tp: 2 } : seed % 6 === 3 ? { standard: true } : {}
    const adapterForm = seed % 5 === 0 ? "lora" as const : "auto" as const
    await run(importAdapter(hf, adapter, megatron, { ...layout, adapterForm }).pipe(Effect.catchIf(({ code }) => code === "usage/layout", () => importAdapter(hf, adapter, megatron, { adapterForm }))))
    await run(exportAdapter(hf, megatron, exported))
    for (const file of ["adapter_config.json", "adapter_model.safetensors"]) {
      expect(readFileSync(join(exported, file)).equals(readFileSync(join(adapter, file))), file).toBe(true)
    }

    expect(await run(verify(adapter, megatron, { hfModel: hf }))).toMatchObject(((total: number) => ({ equal: total, total }))(parseHeader(readFileSync(join(adapter, "adapter_model.safetensors"))).length))

    // How large the changes are, without forming them, is how large they are.
    const wanted = await run(changeNorms(base, adapter))
    const [ofPeft, ofMegatron] = await Promise.all([adapter, megatron].map((path) => run(surveyed(path))))
    expect(ofPeft!.unpaired).toEqual([])
    expect(sumOf(ofPeft!)).toBeCloseToRelative(sum(wanted.values()))
    for (const { module, norm } of ofPeft!.modules) {
      const own = wanted.get(`${module}.weight`)
      if (own !== undefined) expect(norm! ** 2, module).toBeCloseToRelative(own)
    }
    // Rows that repeat others are changed twice.
    const repeats = conversion.parameters.filter(isLinearWeight).some((bound) => factorsOf(bound).some(({ rows }) => rows.some(({ echo }) => echo)))
    expect(ofMegatron!.unpaired).toEqual([])
    if (repeats) expect(sumOf(ofMegatron!)).toBeGreaterThan(sumOf(ofPeft!) * (1 - 1e-4))
    else expect(sumOf(ofMegatron!)).toBeCloseToRelative(sumOf(ofPeft!))
    expect(traps(ofMegatron!)).toEqual([])
    expect(traps(ofPeft!)).toEqual([])

    // Without what is recorded of the original, names and configuration are our own.
    rmSync(join(megatron, "iter_0000000", ORIGIN), { recursive: true })
    const own = join(directory, "own")
    await run(exportAdapter(hf, megatron, own))
    expect(brokenRules(own, new Set(base.weights!.tensors.keys()))).toEqual([])
    rmSync(directory, { recursive: true })
  })
})
