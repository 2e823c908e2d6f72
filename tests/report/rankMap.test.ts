/** What the map says of ranks, against what the plan of an import says of every parameter. */
import { Effect } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { prepareImport } from "../../src/api/conversions.ts"
import { Disk } from "../../src/io/Disk.ts"
import type { Inspection } from "../../src/inspect/Inspection.ts"
import type { Parameter } from "../../src/model/Parameter.ts"
import type { ImportPlan } from "../../src/plan/ImportPlan.ts"
import { type ModuleParallelism, rankCount } from "../../src/parallel/ModuleParallelism.ts"
import { coordinatesOf } from "../../src/parallel/RankGrid.ts"
import { rankMap } from "../../src/report/model/rankMap.ts"
import { plannedSpace } from "../../src/report/planned.ts"
import { itemsTensor } from "../../src/space/TensorSpace.ts"
import { volume } from "../../src/tensor/Copy.ts"
import { cliIn } from "../cli/run.ts"
import { inspectedSpace, sampleSpace } from "./samples.ts"

const work = mkdtempSync(join(tmpdir(), "ranks-"))
const run = cliIn(work)
beforeAll(async () => { expect((await run("sample", "--model", "qwen3.5-vl-moe", "hf", "-q")).code).toBe(0) })
afterAll(() => rmSync(work, { recursive: true, force: true }))

const planOf = async (components: ReadonlyArray<string>, standard?: { readonly tp?: number; readonly pp?: number; readonly ep?: number; readonly etp?: number }): Promise<ImportPlan> =>
  (await Effect.runPromise(prepareImport(join(work, "hf"), { families, ...(standard ?? { components }) }).pipe(Effect.provide(Disk.layer)))).plan

const inspected = (plan: ImportPlan): Inspection => inspectedSpace(plannedSpace(plan))

/** Even pipelines: the rule of the trainer, spelled out. A tower is on the first stage as a whole, unless it has stages of its own. */
const stageOf = ({ mtp, name, stage }: Parameter, pp: number, standard: boolean): number =>
  standard && /vision|visual/.test(name) ? 0 : mtp ? pp - 1 : typeof stage === "object" ? Math.floor(stage.layer / (stage.of / pp)) : stage === "first" ? 0 : pp - 1

/** Bytes of a parameter in the memory of a rank, by what the model says of it. BF16 but for the few that keep F32. */
const heldBy = (parameter: Parameter, bytes: number, p: ModuleParallelism, rank: number, standard: boolean): number => {
  const at = coordinatesOf(p, rank)
  if (stageOf(parameter, p.pp, standard) !== at.pp) return 0
  const { expert } = parameter
  if (expert && Math.floor(expert.index / (expert.of / p.ep)) !== at.ep) return 0
  return parameter.splitAxis === undefined ? bytes : bytes / (expert ? p.etp : p.tp)
}

const expectedOf = ({ checkpoint: { metadata }, conversion, layout, report: { form } }: ImportPlan, rank: number): number => {
  let sum = 0
  for (const { module, parameter } of conversion.parameters) {
    const own = layout.components.find((c) => c.name === module.name)!.parallelism
    if (rank < own.rankOffset || rank >= own.rankOffset + rankCount(own) || (form === "mimo" && parameter.mtp)) continue
    const { dtype } = metadata.tensors.get(module.keyPrefix + parameter.parts[0]!.key)!
    sum += heldBy(parameter, volume(parameter.shape) * (dtype === "F32" ? 4 : 2), own, rank, form === "standard")
  }
  return sum
}

describe("memory per rank", () => {
  it.each([
    ["tensors, stages, experts, replicas", ["language=tp=2,pp=2,ep=2,dp=2", "images=tp=1"]],
    ["experts shared out over data-parallel ranks, sliced", ["language=tp=2,dp=4,ep=2,etp=2", "images=tp=2,dp=2"]],
    ["stages only", ["language=pp=4,dp=2", "images=tp=4"]],
    ["one rank each", []],
    ["a standard checkpoint, which does not record its data-parallel size", { tp: 2, pp: 2, ep: 4 }],
    ["a standard checkpoint with sliced experts", { tp: 2, pp: 2, ep: 2, etp: 2 }]
  ] as const)("is what the trainer would hold: %s", async (_, layout) => {
    const plan = Array.isArray(layout) ? await planOf(layout) : await planOf([], layout as object)
    const map = rankMap(inspected(plan))
    expect(map.of).toBe("rank")
    const ranks = map.columns.flatMap((c) => c.ranks.map((rank) => [rank, c.bytes] as const)).sort(([a], [b]) => a - b)
    expect(ranks.map(([rank]) => rank)).toEqual(Array.from({ length: plan.layout.worldSize }, (__, rank) => rank))
    for (const [rank, bytes] of ranks) expect(bytes, `rank ${rank}`).toBe(expectedOf(plan, rank))
  })

  it("counts a tied embedding on the last stage, too", () => {
    const tensor = (name: string, rank: number) => [name, itemsTensor("sample", name, { dtype: "BF16", shape: [8, 4], chunks: [{ offsets: [0, 0], sizes: [8, 4], file: `__${rank}_0.distcp`, offset: 0, length: 64 }] })] as const
    const i = inspectedSpace({
      ...sampleSpace({ layers: 0, perLayer: 0, ranks: 1 }),
      form: "standard",
      tensors: new Map([tensor("embedding.word_embeddings.weight", 0), tensor("decoder.layers.0.mlp.linear_fc2.weight", 0), tensor("decoder.layers.1.mlp.linear_fc2.weight", 1)]),
      files: [{ name: "__0_0.distcp", bytes: 128 }, { name: "__1_0.distcp", bytes: 64 }]
    })
    const layout = [{ component: "model", tp: 1, pp: 2, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0 }]
    const bytes = (tied: boolean) => rankMap({ ...i, model: { ...i.model, layout, tied } }).columns.map((c) => c.bytes)
    expect(bytes(true)).toEqual([128, 128])
    expect(bytes(false)).toEqual([128, 64])
  })
})

describe("the map", () => {
  it("folds ranks that hold the same, layers that hold the same, and what travels beside the model", async () => {
    const map = rankMap(inspected(await planOf(["language=tp=2,pp=2,ep=2,dp=2", "images=tp=1"])))
    expect(map.columns.map((c) => c.label)).toEqual(["0,2", "1,3", "4,6", "5,7", "8"])
    expect(map.rows.map((r) => [r.component, r.label, r.layers, r.beside])).toEqual([
      ["language", "outside layers", 0, false],
      ["language", "decoder.layers 0,1", 2, false],
      ["language", "decoder.layers 2", 1, false],
      ["language", "decoder.layers 3", 1, false],
      ["language", "mtp.layers 0", 1, true],
      ["images", "outside layers", 0, false],
      ["images", "decoder.layers 0,1", 2, false],
      ["hf_source", "Hugging Face tensors", 0, true]
    ])
  })

  it("says the position of ranks on every axis, and their experts", async () => {
    const map = rankMap(inspected(await planOf(["language=tp=2,pp=2,ep=2,dp=2", "images=tp=1"])))
    expect(map.axes).toEqual(["tp", "pp", "dp", "ep"])
    expect(map.columns.map((c) => [c.at.tp, c.at.pp, c.at.dp, c.at.ep, c.experts])).toEqual([
      ["0", "0", "0,1", "0", "0,1"], ["1", "0", "0,1", "1", "2,3"], ["0", "1", "0,1", "0", "0,1"], ["1", "1", "0,1", "1", "2,3"], ["0", "0", "0", "0", ""]
    ])
  })

  it("gives the sum of its cells in memory as the bytes of a column", async () => {
    const map = rankMap(inspected(await planOf(["language=tp=2,pp=4", "images=tp=1"])))
    for (const [k, column] of map.columns.entries()) {
      expect(map.rows.reduce((sum, row, r) => sum + (row.beside ? 0 : map.cells[r]![k]?.bytes ?? 0), 0)).toBe(column.bytes)
    }
  })

  it("shows who wrote what where the files are of other ranks than the layout's, or there is no layout", async () => {
    const i = inspected(await planOf(["language=tp=2", "images=tp=1"]))
    const other = { ...i, model: { ...i.model, layout: [{ component: "language", tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0 }] } }
    expect(rankMap(other)).toMatchObject({ of: "writer", noRanks: "saved under another layout" })
    expect(rankMap({ ...i, model: { ...i.model, layout: [] } })).toMatchObject({ of: "writer", noRanks: "no layout" })
    const world = { ...i, model: { ...i.model, layout: [{ component: "language", tp: 1, pp: 1, dp: 1_048_576, cp: 1, ep: 1, etp: 1, rankOffset: 0 }] } }
    expect(rankMap(world)).toMatchObject({ of: "writer", noRanks: "too many ranks" })
  })

  it("draws ranks that hold equally much as one column where there are too many, with the slices of the first", () => {
    // A layer for each of 32 stages, its halves on the two ranks of the stage.
    const layer = (n: number) => {
      const chunks = [0, 1].map((tp) => ({ offsets: [tp * 4, 0], sizes: [4, 8], file: `__${2 * n + tp}_0.distcp`, offset: 0, length: 64 }))
      const name = `language_model.decoder.layers.${n}.mlp.linear_fc1.weight`
      return [name, itemsTensor("sample", name, { dtype: "BF16", shape: [8, 8], chunks })] as const
    }
    const files = Array.from({ length: 64 }, (_, rank) => ({ name: `__${rank}_0.distcp`, bytes: 64 }))
    const i = inspectedSpace({ ...sampleSpace({ layers: 0, perLayer: 0, ranks: 1 }), tensors: new Map(Array.from({ length: 32 }, (_, n) => layer(n))), files })
    const map = rankMap({ ...i, model: { ...i.model, layout: [{ component: "language", tp: 2, pp: 32, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0 }] } })
    const stage = map.columns[1]!
    expect([map.columns.length, stage.label, stage.ranks, stage.contents, stage.alike, stage.at]).toEqual([32, "2,3", [2, 3], 2, true, { tp: "0,1", pp: "1" }])
    expect([stage.bytes, map.cells.map((row) => row[1]?.bytes ?? 0).reduce((a, b) => a + b)]).toEqual([64, 64])
  })

  it("takes components of any name, and one row for what is no part of the model", () => {
    const i = inspectedSpace(sampleSpace({ layers: 2, perLayer: 1, ranks: 2 }))
    const roles = ["model", "training"] as const
    const map = rankMap({ ...i, tensors: i.tensors.map((t, k) => ({ ...t, role: roles[k]!, component: k === 0 ? "constructor" : "training" })) })
    expect(map.rows.map((r) => [r.component, r.label])).toEqual([["constructor", "decoder.layers 0"], ["training", "optimizer state"]])
  })

  it("draws 1000 layers on 4096 ranks in a few rows and columns", () => {
    const i = inspectedSpace(sampleSpace({ layers: 1000, perLayer: 2, ranks: 8 }))
    const map = rankMap({ ...i, model: { ...i.model, layout: [{ component: "language", tp: 8, pp: 1, dp: 512, cp: 1, ep: 1, etp: 1, rankOffset: 0 }] } })
    expect([map.columns.length, map.rows.length]).toEqual([8, 8])
    expect(map.columns.every((c) => c.ranks.length === 512)).toBe(true)
  })
})
