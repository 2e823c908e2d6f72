/** Frozen parts: a delta does not look at them, and a comparison of two checkpoints shows whether they were left alone. */
import { Effect } from "effect"
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import { prepareImport } from "../../src/api/conversions.ts"
import { diffCheckpoints, Disk, publishVersion, pullVersion } from "../../src/index.ts"
import type { LoadRoute } from "../../src/mimo/loadRoute.ts"
import { parseRunConfig } from "../../src/runconfig/RunConfigFile.ts"
import { toyModel } from "./toyModel.ts"

/** Flip a bit in the middle of a tensor of the only shard. */
const touch = (directory: string, tensor: RegExp): string => {
  const file = join(directory, "model.safetensors")
  const bytes = readFileSync(file)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const table = JSON.parse(bytes.subarray(8, start).toString()) as Record<string, { readonly data_offsets: readonly [number, number] }>
  const name = Object.keys(table).find((other) => tensor.test(other))!
  bytes[start + table[name]!.data_offsets[0]]! ^= 1
  writeFileSync(file, bytes)
  return name
}

it("frozen routers are skipped by deltas and compared by diff, in either format", async () => {
  const { hf, megatron, work } = await toyModel("deepseek-v3-nomtp")
  const [trained, root, local] = ["trained", "versions", "local"].map((name) => join(work, name)) as [string, string, string]
  cpSync(hf, trained, { recursive: true })
  touch(trained, /layers\.1\.self_attn\..*weight$/)
  await publishVersion(hf, root)
  expect(await publishVersion(trained, root, { freeze: ["router"] })).toMatchObject({ kind: "delta", changedTensors: 1, frozenTensors: 2 })
  await pullVersion(root, local)
  expect(readFileSync(join(local, "model.safetensors")).equals(readFileSync(join(trained, "model.safetensors")))).toBe(true)
  expect(await diffCheckpoints(hf, trained, { frozen: ["router"] })).toMatchObject({ equal: 2, total: 2 })
  // What was said to be frozen and has moved all the same is found by the one, and not seen by the other.
  const router = touch(trained, /mlp\.gate\.weight$/)
  expect((await diffCheckpoints(hf, trained, { frozen: ["router"] })).tensors.map(({ name }) => name)).toEqual([router])
  expect(await publishVersion(trained, root, { freeze: ["router"] })).toMatchObject({ changedTensors: 0 })
  const other = join(work, "other")
  await Effect.runPromise(Effect.flatMap(prepareImport(trained, { standard: true }), (prepared) => prepared.run(other)).pipe(Effect.provide(Disk.layer)))
  expect((await diffCheckpoints(megatron, other, { frozen: ["router"], hfModel: hf })).tensors).toHaveLength(1)
  expect((await diffCheckpoints(hf, other, { frozen: ["router"] })).tensors.map(({ name }) => name)).toEqual([router])
  await expect(diffCheckpoints(megatron, other, { frozen: ["router"] })).rejects.toMatchObject({ _tag: "UsageError" })
  await expect(publishVersion(trained, root, { freeze: ["images"] })).rejects.toMatchObject({ _tag: "UsageError" })
  rmSync(work, { recursive: true })
})

it("what an import is told to freeze is in its plan and in the model's configuration, in either form", async () => {
  const { hf, work } = await toyModel("llava-1.5")
  const plan = (freeze: ReadonlyArray<string>, standard: boolean, loadRoute: LoadRoute = "hook") => Effect.runPromise(prepareImport(hf, { freeze, standard, loadRoute }).pipe(Effect.provide(Disk.layer)))
  const configured = (text: string) => (parseRunConfig(Buffer.from(text)) as { readonly model: Record<string, unknown> }).model
  const mimo = await plan(["encoders", "images.projector", "language_model.decoder.layers.0.*"], false)
  expect(configured(mimo.plan.runConfig)).toMatchObject({ freeze_modality_encoders: { images: true }, freeze_modality_projections: { images: true } })
  expect(mimo.report.frozen).toMatchObject({ fields: ["freeze_modality_encoders", "freeze_modality_projections"], byHook: ["language_model.decoder.layers.0.*"] })
  // Names of wrapped components are names of the same tensors.
  const wrapped = await plan(["language"], false, "ddp")
  expect(wrapped.report.frozen).toEqual((await plan(["language"], false)).report.frozen)
  expect(wrapped.report.frozen!.tensors).toBeGreaterThan(0)
  const standard = await plan(["language"], true)
  expect(configured(standard.plan.runConfig)).toMatchObject({ freeze_language_model: true })
  // The same parts, counted another way: all that is not in the tower or its projector.
  const rest = await plan(["encoders", "projections"], true)
  expect(standard.report.frozen!.bytes + rest.report.frozen!.bytes).toBe(standard.report.targetBytes)
  expect((await plan([], true)).report.frozen).toBeUndefined()
  rmSync(work, { recursive: true })
})
