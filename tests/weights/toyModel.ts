/** A toy model on disk: as a Hugging Face directory, and as a checkpoint of it. */
import { Effect } from "effect"
import { join } from "node:path"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { Disk } from "../../src/index.ts"
import { prepareImport } from "../../src/api/conversions.ts"
import { toys } from "../families/toys.ts"
import { memoryDirectory } from "../families/verbs.ts"

export interface ToyModel {
  readonly work: string
  readonly hf: string
  readonly megatron: string
}

/** `standard` in one layout of one rank, else with its components. */
export const toyModel = async (name: string, standard = true): Promise<ToyModel> => {
  const toy = toys.find((other) => other.name === name)!
  const work = memoryDirectory("weights")
  const [hf, megatron] = [join(work, "hf"), join(work, "megatron")]
  await Effect.runPromise(Effect.gen(function*() {
    yield* writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config: toy.config, configText: toy.configText, tensors: [...toy.tensors] } }, hf)
    yield* (yield* prepareImport(hf, { standard })).run(megatron)
  }).pipe(Effect.provide(Disk.layer)))
  return { work, hf, megatron }
}
