/** Checkpoints that do not describe their model: what is asked for, and that it is enough. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, it } from "vitest"
import { diffCheckpoints, exportCheckpoint, exportDescribed } from "../../src/index.ts"
import { trainingCheckpoint } from "../conformance/training.ts"
import { trainingTable } from "../conformance/trainingTable.ts"

const work = mkdtempSync(join(tmpdir(), "undescribed-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))

const { config } = trainingTable["core014-model-space-dp2"]!.exported as { readonly config: Readonly<Record<string, unknown>> }

it("of a core that stored no arguments: a directory with config.json alone is enough", async () => {
  const source = trainingCheckpoint("core014-model-space-dp2")
  await expect(exportDescribed(source, join(work, "never"))).rejects.toMatchObject({ code: "unsupported/implied-config", message: expect.stringContaining("--hf-model") })
  const [model, out] = [join(work, "model"), join(work, "out")]
  mkdirSync(model)
  writeFileSync(join(model, "config.json"), JSON.stringify(config))
  const { leftBehind } = await exportCheckpoint({ hfModel: model, standard: true }, source, out)
  expect(leftBehind).toEqual([])
  const { equal, tensors, total } = await diffCheckpoints(out, source)
  expect([tensors, equal]).toEqual([[], total])
})

it.each(["mimo-fully-reshardable", "mimo-no-ddp-weights"])("of components (%s): its config.json is asked for", async (name) => {
  await expect(exportDescribed(trainingCheckpoint(name), join(work, "never"))).rejects.toMatchObject({ _tag: "UsageError", message: expect.stringContaining("--hf-model DIR names the model") })
})
