/** Folders of ranks that Megatron-LM wrote: the tensors that they are together are those of the recorded facts. */
import { Effect, Stream } from "effect"
import { describe, expect, it } from "vitest"
import { digest } from "../../src/engine/index.ts"
import { Disk } from "../../src/io/Disk.ts"
import { openSpace } from "../../src/space/openSpace.ts"
import { openTensors } from "../../src/space/openTensors.ts"
import { layerSpecNames } from "../../src/model/layerSpec.ts"
import { isTraining } from "../../src/model/storedKey.ts"
import { trainingCheckpoint, trainingFacts } from "./training.ts"

const weightsOf = (name: string) =>
  Effect.gen(function*() {
    const { tensors } = yield* openSpace(trainingCheckpoint(name))
    const weights = [...tensors.values()].filter((tensor) => tensor.role === "model")
    const { whole } = yield* openTensors(weights)
    const found = yield* Stream.runCollect(digest(weights.map(whole)))
    return Object.fromEntries(Array.from(found, ({ id, sha256 }) => [id, { shape: tensors.get(id)!.shape, sha256 }]))
  }).pipe(Effect.provide(Disk.layer), Effect.runPromise)

describe("folders of ranks that Megatron-LM wrote", () => {
  it.each(["legacy-tp2pp2", "legacy-ep2", "legacy-distributed-optimizer-dp2"])("%s", async (name) => {
    const expected = Object.entries(trainingFacts(name).expectedGlobal!).filter(([key]) => !isTraining(key))
    // The facts have the names that the trainer stores; what is read has those of Transformer Engine's specification.
    const named = layerSpecNames(expected.map(([key]) => key))
    expect(await weightsOf(name)).toEqual(Object.fromEntries(expected.map(([key, { sha256, shape }]) => [named(key, "te"), { shape, sha256 }])))
  })
})
