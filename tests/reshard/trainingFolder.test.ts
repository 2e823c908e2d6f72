/** Averages of a run's iterations, and fewer of them. */
import { Effect } from "effect"
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { mergeIterations, type AverageOptions, preparePrune, type PruneOptions } from "../../src/api/trainingFolder.ts"
import { Disk } from "../../src/io/Disk.ts"
import { f32OfBits } from "../../src/tensor/kernels/float.ts"
import { trainingCheckpoint } from "../conformance/training.ts"
import { type RandomSizes, STATES, writeRandomModel } from "./randomModel.ts"
import { globalBytes, iterationIn, metadataOf, objectIn, summaries } from "./stored.ts"

const work = mkdtempSync(join(tmpdir(), "folder-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))
const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, Disk.layer) as Effect.Effect<A, E>)

let count = 0
const fresh = (): string => join(work, String(count++))
const sizes: RandomSizes = { layers: 2, hidden: 8, heads: 4, ffn: 8, vocabulary: 16, experts: undefined, gated: true, tied: false, indexed: false, mimo: false, states: STATES[0]! }

/** A run with these steps, each iteration with weights of its own. */
const runWith = (...steps: ReadonlyArray<number>): string => {
  const parent = fresh()
  for (const step of steps) {
    const one = writeRandomModel(fresh(), sizes, step)
    mkdirSync(parent, { recursive: true })
    renameSync(join(one, "iter_0000007"), join(parent, folder(step)))
  }
  writeFileSync(join(parent, "latest_checkpointed_iteration.txt"), String(steps.at(-1)))
  return parent
}
const folder = (step: number): string => `iter_${String(step).padStart(7, "0")}`
const iterations = (parent: string): ReadonlyArray<string> => readdirSync(parent).filter((name) => name.includes("iter_")).sort()

/** BF16 numbers of a tensor. */
const numbers = async (path: string, key: string): Promise<ReadonlyArray<number>> => {
  const bytes = await globalBytes(path, metadataOf(path).tensors.get(key)!)
  return Array.from({ length: bytes.length / 2 }, (_, i) => f32OfBits(bytes.readUInt16LE(2 * i) << 16))
}

describe("merge-iterations", () => {
  const merged = async (parent: string, options: AverageOptions): Promise<string> => {
    const target = fresh()
    await run(mergeIterations(parent, target, options))
    return target
  }

  it("gives the weighted mean: sums in F32, rounded once", async () => {
    const parent = runWith(1, 2, 3)
    const weights = [0.5, 0.25, 0.25]
    const made = await merged(parent, { iterations: [1, 2, 3], weights })
    expect(readdirSync(made).sort()).toEqual(["iter_0000003", "latest_checkpointed_iteration.txt"])
    const key = "decoder.layers.mlp.linear_fc1.weight"
    const inputs = await Promise.all([1, 2, 3].map((step) => numbers(join(parent, folder(step)), key)))
    const found = await numbers(iterationIn(made), key)
    const expected = inputs[0]!.map((_, i) => inputs.reduce((sum, values, k) => {
      const product = Math.fround(weights[k]! * values[i]!)
      return k === 0 ? product : Math.fround(sum + product)
    }, 0))
    for (const [i, value] of expected.entries()) {
      if (Number.isNaN(value)) expect(found[i]).toBeNaN()
      // BF16 has 8 significant bits.
      else if (Number.isFinite(value)) expect(Math.abs(found[i]! - value)).toBeLessThanOrEqual(Math.abs(value) * 2 ** -8 + 1e-38)
    }
  })

  it("of equal iterations is those weights, in whatever boxes each stores them; a checkpoint without optimizer", async () => {
    const parent = fresh()
    cpSync(join(iterationIn(trainingCheckpoint("lm-fully-reshardable-dp2"))), join(parent, folder(1)), { recursive: true })
    cpSync(join(iterationIn(trainingCheckpoint("lm-fully-reshardable-tp2pp2"))), join(parent, folder(2)), { recursive: true })
    const made = iterationIn(await merged(parent, { iterations: [1, 2], weights: [0.25, 0.75] }))
    const whole = await summaries(iterationIn(trainingCheckpoint("lm-fully-reshardable-dp2")))
    expect(await summaries(made)).toEqual(Object.fromEntries(Object.entries(whole).filter(([key]) => !key.startsWith("optimizer"))))
    const common = await objectIn(made, "common_state/shard_0_1") as ReadonlyMap<string, unknown>
    expect([common.has("args"), common.has("optimizer"), common.has("opt_param_scheduler")]).toEqual([true, false, false])
  })

  it.each<[string, AverageOptions, string]>([
    ["one", { iterations: [1] }, "an average is of 2"],
    ["one twice", { iterations: [1, 1] }, "named twice"],
    ["weights that do not sum to 1", { iterations: [1, 2], weights: [0.5, 0.6] }, "sum to 1.1"],
    ["too few weights", { iterations: [1, 2], weights: [1] }, "1 weights for 2"],
    ["one that is not there", { iterations: [1, 5] }, "iter_0000005"]
  ])("refuses %s", async (_, options, problem) => {
    await expect(merged(runWith(1, 2), options)).rejects.toThrow(problem)
  })

  it("refuses iterations of two models", async () => {
    const parent = runWith(1)
    renameSync(join(writeRandomModel(fresh(), { ...sizes, ffn: 16 }, 2), "iter_0000007"), join(parent, folder(2)))
    await expect(merged(parent, { iterations: [1, 2] })).rejects.toThrow("do not hold the same tensors")
  })
})

describe("prune", () => {
  const pruned = async (parent: string, options: PruneOptions) => run(Effect.flatMap(preparePrune(parent, options), ({ run: go }) => go()))

  it("removes what is no k-th, but never the newest nor what a tracker names; a plan touches nothing", async () => {
    const parent = runWith(1, 2, 3, 4, 5)
    writeFileSync(join(parent, "latest_checkpointed_iteration.txt"), "3")
    const { report } = await run(preparePrune(parent, { keepEvery: 2 }))
    expect(report.iterations.map(({ fate }) => fate)).toEqual(["removed", "kept", "kept", "kept", "kept"])
    expect(iterations(parent).length).toBe(5)
    const done = await pruned(parent, { keepEvery: 2 })
    expect(done.freed).toBe(report.freed)
    expect(iterations(parent)).toEqual([2, 3, 4, 5].map(folder))
  })

  it("takes the optimizer's state out of those that stay", async () => {
    const parent = runWith(1, 2)
    const weights = Object.fromEntries(Object.entries(await summaries(join(parent, folder(1)))).filter(([key]) => !key.startsWith("optimizer")))
    await pruned(parent, { dropOptimizer: true })
    expect(iterations(parent)).toEqual([1, 2].map(folder))
    expect(await summaries(join(parent, folder(1)))).toEqual(weights)
    expect([...metadataOf(join(parent, folder(2))).tensors.keys()].some((key) => key.startsWith("optimizer"))).toBe(true)
    const again = await run(preparePrune(parent, { dropOptimizer: true }))
    expect(again.report.freed).toBe(0)
  })

  it("finishes what a crash left, and leaves no folder that looks like an iteration half-way", async () => {
    const parent = runWith(2, 4)
    const slim = join(parent, ".slimming-iter_0000002")
    mkdirSync(slim)
    // The new form was complete and the old one already out of the way.
    cpSync(join(parent, folder(2)), join(slim, folder(2)), { recursive: true })
    renameSync(join(parent, folder(2)), join(parent, ".removing-iter_0000002"))
    mkdirSync(join(parent, ".removing-iter_0000001"))
    await pruned(parent, { keepEvery: 4 })
    expect(readdirSync(parent).filter((name) => name.includes("iter_"))).toEqual([folder(2), folder(4)])
  })

  it("follows no link: neither to an iteration nor in one", async () => {
    const parent = runWith(1, 2)
    const outside = runWith(1)
    symlinkSync(join(outside, folder(1)), join(parent, folder(3)))
    symlinkSync(outside, join(parent, folder(1), "elsewhere"))
    const report = await pruned(parent, { keepEvery: 2 })
    expect(report.notes.join()).toContain("iter_0000003 is no folder")
    expect(lstatSync(join(parent, folder(3))).isSymbolicLink()).toBe(true)
    expect(existsSync(join(parent, folder(1)))).toBe(false)
    expect(readFileSync(join(outside, folder(1), "metadata.json")).length).toBeGreaterThan(0)
    chmodSync(outside, 0o755)
  })

  it("does nothing where it is not known what must stay", async () => {
    const parent = runWith(1, 2)
    writeFileSync(join(parent, "latest_checkpointed_iteration.txt"), "soon")
    await expect(pruned(parent, { keepEvery: 2 })).rejects.toThrow("which iteration must stay is not known")
    await expect(pruned(runWith(1), {})).rejects.toThrow("nothing to prune is named")
    await expect(pruned(work, { keepEvery: 2 })).rejects.toThrow("no training folder")
    expect(iterations(parent).length).toBe(2)
  })
})
