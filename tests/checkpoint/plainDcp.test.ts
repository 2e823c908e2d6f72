/**
 * Checkpoints of plain DCP, which torch wrote from DTensors of four processes (tests/interop/plainDcp.py): their weights are those of the
 * torch_dist checkpoints that they were made from.
 */
import { Effect, Stream } from "effect"
import { fileURLToPath } from "node:url"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { relabelPlan } from "../../src/api/checkpoints.ts"
import { reshardPlan } from "../../src/api/reshard.ts"
import { plainAsWhole } from "../../src/checkpoint/plainDcp.ts"
import { digest } from "../../src/engine/index.ts"
import { Disk } from "../../src/io/Disk.ts"
import { openSpace } from "../../src/space/openSpace.ts"
import { openTensors } from "../../src/space/openTensors.ts"
import type { DcpMetadata, StoredTensor } from "../../src/torch/DcpMetadata.ts"
import { openCheckpoint } from "../../src/space/Checkpoint.ts"
import { trainingCheckpoint } from "../conformance/training.ts"

const fixture = (name: string): string => join(fileURLToPath(new URL("../fixtures/plainDcp/", import.meta.url)), name, "iter_0000003")
const run = <A, E>(effect: Effect.Effect<A, E, Disk>): Promise<A> => Effect.runPromise(Effect.provide(effect, Disk.layer))

/** Of every tensor of the model: dtype, shape, hash of its bytes. */
const weights = (path: string): Promise<Record<string, string>> =>
  run(Effect.gen(function*() {
    const { tensors } = yield* openSpace(path)
    const own = [...tensors.values()].filter(({ role }) => role === "model")
    const { whole } = yield* openTensors(own)
    const found = yield* Stream.runCollect(digest(own.map(whole)))
    return Object.fromEntries(Array.from(found, ({ id, sha256 }) => [id, `${tensors.get(id)!.dtype} [${tensors.get(id)!.shape}] ${sha256}`]))
  }))

describe("what torch wrote", () => {
  it.each([
    ["fsdp-dtensor", "lm-fully-reshardable-dp2"],
    ["fsdp-dtensor-experts", "lm-moe-fully-reshardable-ep2"]
  ])("%s has the weights of %s", async (name, source) => {
    expect(await weights(fixture(name))).toEqual(await weights(trainingCheckpoint(source)))
    const { metadata, notes } = await run(openCheckpoint(fixture(name)))
    expect(notes.join()).toContain("Megatron-FSDP (fsdp_dtensor)")
    expect((metadata.run!.value as ReadonlyMap<string, unknown>).get("iteration")).toBe(3)
  })

  it("only its weights: what is done to files of torch_dist is refused, with another way", async () => {
    await expect(run(reshardPlan(fixture("fsdp-dtensor"), { tp: 2 }))).rejects.toThrow(/plain DCP.*\n.*export, then import/)
    await expect(run(relabelPlan(fixture("fsdp-dtensor"), { to: ["plain"] }))).rejects.toThrow(/plain DCP.*\n.*export, then import/)
  })
})

describe("what its names do not say is refused", () => {
  const tensor = (...shape: ReadonlyArray<number>): StoredTensor => ({ dtype: "BF16", shape, chunks: [{ offsets: shape.map(() => 0), sizes: shape, file: "__0_0.distcp", offset: 0, length: 1 }] })
  const opened = (tensors: Readonly<Record<string, StoredTensor>>): DcpMetadata =>
    plainAsWhole("there", { className: "", objects: new Map(), tensors: new Map(Object.entries(tensors)) }, { file: "", value: new Map() })
  const layer = "model.module.decoder.layers.0"

  it.each<readonly [what: string, tensors: Readonly<Record<string, StoredTensor>>, problem: RegExp]>([
    ["a half without the other", { [`${layer}.mlp.linear_fc1.weight_w`]: tensor(4, 2) }, /other half is missing/],
    ["halves of two sizes", { [`${layer}.mlp.linear_fc1.weight_w`]: tensor(4, 2), [`${layer}.mlp.linear_fc1.weight_v`]: tensor(2, 2) }, /differ: BF16 \[4,2\] and BF16 \[2,2\]/],
    ["virtual chunks", { "model0.module.decoder.layers.0.mlp.linear_fc2.weight": tensor(2, 4) }, /model0\.module.*virtual pipeline chunks/],
    ["a missing expert", { [`${layer}.mlp.experts.linear_fc2.weight0`]: tensor(2, 4), [`${layer}.mlp.experts.linear_fc2.weight2`]: tensor(2, 4) }, /expert 1 is held by no rank/],
    ["one expert under two names", { [`${layer}.mlp.experts.linear_fc2.weight0`]: tensor(2, 4), [`${layer}.mlp.experts.local_experts.0.linear_fc2.weight`]: tensor(2, 4) }, /same parameter as/],
    ["a fused projection of several parts", { [`${layer}.self_attention.in_proj.weight`]: tensor(20, 2) }, /several parts in one tensor/]
  ])("%s", (_, tensors, problem) => {
    expect(() => opened(tensors)).toThrow(problem)
  })

  it("parts that are stored apart are the parameters of torch_dist", () => {
    const parts = ["query", "key", "value", "z", "beta", "alpha"].map((part) => [`${layer}.self_attention.in_proj.weight.${part}`, tensor(2, 2)] as const)
    expect([...opened(Object.fromEntries(parts)).tensors.keys()].map((key) => key.replace(/layers\.(?:0\.)?/, ""))).toEqual(parts.map(([key]) => key.slice("model.module.".length).replace("layers.0.", "")))
  })
})
