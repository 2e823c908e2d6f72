/** The table of checkpoints that trainers wrote has no hole that it does not explain, and what it says of inspecting and exporting is so. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { exportCheckpoint, exportDescribed, inspectCheckpoint, verifyCheckpoint } from "../../src/index.ts"
import { isTraining } from "../../src/model/storedKey.ts"
import { interopRecord } from "../proofs.ts"
import { trainedCheckpoints, trainingCheckpoint, trainingFacts, trainingNames } from "./training.ts"
import { trainingTable } from "./trainingTable.ts"

const work = mkdtempSync(join(tmpdir(), "table-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

const all = [...trainingNames.map((name) => [name, trainingCheckpoint(name)] as const), ...trainedCheckpoints]

it("has a row for every folder, and what each row says is there to be held to", () => {
  const { trained } = interopRecord()
  expect(Object.keys(trainingTable).sort()).toEqual([...trainingNames, ...Object.keys(trained)].sort())
  for (const [name, path] of all) {
    const { globalTensors, logits, thereAndBack } = trainingTable[name]!
    expect([name, logits === "interop"]).toEqual([name, existsSync(join(path, "../logits.npy")) && name in trained])
    expect([name, globalTensors === "facts"]).toEqual([name, existsSync(join(path, "../facts.json"))])
    expect([name, thereAndBack === "joined"]).toEqual([name, globalTensors === "facts" && trainingFacts(name).expectedGlobal !== undefined])
  }
})

describe("inspected, and exported", () => {
  it.each(all)("%s", async (name, path) => {
    const { tensors } = await inspectCheckpoint(path)
    const model = tensors.filter(({ role }) => role === "model")
    expect(model.length).toBeGreaterThan(0)
    if (trainingTable[name]!.globalTensors === "facts") {
      const { expectedGlobal, tensors: stored } = trainingFacts(name)
      expect(model.length).toBe(Object.keys(expectedGlobal ?? stored).filter((key) => !isTraining(key)).length)
    }
    const { exported } = trainingTable[name]!
    const target = join(work, name)
    if (exported === "described") await exportDescribed(path, target)
    else {
      const hfModel = join(work, `${name}-config`)
      mkdirSync(hfModel)
      writeFileSync(join(hfModel, "config.json"), JSON.stringify(exported.config))
      await exportCheckpoint({ hfModel }, path, target)
    }
    const { equal, total } = await verifyCheckpoint({ hfModel: target }, path)
    expect([equal, total > 0]).toEqual([total, true])
  })
})
