/** What a rank loads: its own boxes, from either format, and nothing else is read. */
import { Effect } from "effect"
import { rmSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { prepareImport } from "../../src/api/conversions.ts"
import { Disk, type MegatronWeight, WeightBridge, type WeightConversionTask } from "../../src/index.ts"
import { toyModel } from "./toyModel.ts"

interface Whole extends Omit<MegatronWeight, "bytes" | "offset" | "last"> {
  readonly bytes: Buffer
}

const collect = async (weights: AsyncIterable<MegatronWeight>): Promise<ReadonlyMap<string, Whole>> => {
  const found = new Map<string, Whole>()
  for await (const { bytes, last: _, offset, ...rest } of weights) {
    const before = found.get(rest.globalParamName)?.bytes ?? Buffer.alloc(0)
    expect(offset).toBe(before.byteLength)
    found.set(rest.globalParamName, { ...rest, bytes: Buffer.concat([before, bytes]) })
  }
  return found
}

const digest = (weights: ReadonlyMap<string, Whole>) => [...weights].map(([name, { bytes, dtype, paramName, shape, vpStage }]) => [name, paramName, vpStage, dtype, shape, bytes.toString("base64")])

/** Rows of a matrix, or elements of a vector, as text. */
const rowsOf = ({ bytes, shape }: Whole): ReadonlyArray<string> => {
  const width = bytes.byteLength / shape[0]!
  return Array.from({ length: shape[0]! }, (_, row) => bytes.subarray(row * width, (row + 1) * width).toString("base64"))
}

describe.each([
  ["qwen3-moe-vpp", "glm-4.5-packed", { tp: 2, ep: 2, etp: 1 }, 2],
  ["bailing", "bailing-moe-v2.5", { tp: 2, pp: 2 }, 4],
  ["latent attention", "deepseek-v3-nomtp", { tp: 2, ep: 2 }, 2]
] as const)("%s", (_, toy, sizes, ranks) => {
  it("every rank holds its boxes, the same from the directory and from a checkpoint of any layout; together they are the model", async () => {
    const { hf, megatron, work } = await toyModel(toy)
    const options = sizes
    const [a, b] = [await WeightBridge.open(hf, options), await WeightBridge.open(hf, { ...options, load: { format: "dist_ckpt", path: megatron } })]
    const one = await collect((await WeightBridge.open(hf, { tp: 1 })).loadWeights(0))
    const tasks = new Map((await a.getConversionTasks()).map((task) => [task.globalParamName, task]))
    const held = new Map<string, Array<Whole>>()
    for (let rank = 0; rank < ranks; rank++) {
      const own = await collect(a.loadWeights(rank))
      expect(digest(await collect(b.exportWeightsWithoutGather(rank)))).toEqual(digest(own))
      for (const [name, weight] of own) held.set(name, [...held.get(name) ?? [], weight])
    }
    expect([...held.keys()].sort()).toEqual([...one.keys()].sort())
    for (const [name, parts] of held) {
      const { partitionDim, shape } = tasks.get(name) as WeightConversionTask
      const whole = one.get(name)!
      const isSplit = parts.some((part) => part.shape.some((n, k) => n !== whole.shape[k]))
      expect(shape.length).toBe(whole.shape.length)
      if (!isSplit) for (const { bytes } of parts) expect(bytes.equals(whole.bytes), name).toBe(true)
      // Rows are dealt out, gate and up each for itself; columns are cut.
      else if (partitionDim === 0) expect(new Set(parts.flatMap(rowsOf)), name).toEqual(new Set(rowsOf(whole)))
      else {
        const sides = parts.map(rowsOf).map((rows) => rows.map((row) => Buffer.from(row, "base64")))
        expect(sides[0]!.map((row, i) => Buffer.concat([row, ...sides.slice(1, 2).map((side) => side[i]!)]).toString("base64")), name).toEqual(rowsOf(whole))
      }
    }
    await expect(collect(a.loadWeights(ranks))).rejects.toMatchObject({ _tag: "UsageError" })
    rmSync(work, { recursive: true })
  })
})

describe("a checkpoint that was written under the same layout", () => {
  it("gives a rank what it gives under another one, a padded vocabulary too", async () => {
    const { hf, megatron, work } = await toyModel("glm-4.5-packed")
    const padded = `${megatron}-tp2`
    await Effect.runPromise(Effect.flatMap(prepareImport(hf, { tp: 2, ep: 2 }), (prepared) => prepared.run(padded)).pipe(Effect.provide(Disk.layer)))
    const from = (path: string) => WeightBridge.open(hf, { tp: 2, ep: 2, load: { format: "dist_ckpt", path } })
    for (const rank of [0, 1]) expect(digest(await collect((await from(padded)).loadWeights(rank)))).toEqual(digest(await collect((await from(megatron)).loadWeights(rank))))
    rmSync(work, { recursive: true })
  })
})
