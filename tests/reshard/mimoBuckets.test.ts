/** Optimizer state in buckets, of one component of a MegatronMIMO run: the state of a language model's run, under that component's names. */
import { copyFileSync, cpSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import { decodeMetadata } from "../../src/torch/DcpMetadata.ts"
import { encodeMetadata } from "../../src/torch/DcpMetadataWriter.ts"
import { trainingCheckpoint, trainingFacts } from "../conformance/training.ts"
import { plain, resharding } from "./resharding.ts"
import { iterationIn, summaries } from "./stored.ts"

const { fresh, to } = resharding()

/** The tower of another checkpoint in a file of its own. */
const TOWER = "__7_0.distcp"

const mimoOf = (name: string): string => {
  const parent = fresh()
  cpSync(trainingCheckpoint(name), parent, { recursive: true })
  const folder = join(parent, "iter_0000003")
  const tower = join(trainingCheckpoint("mimo-no-ddp-weights"), "iter_0000003")
  const path = join(folder, ".metadata")
  const { objects, tensors, ...rest } = decodeMetadata(readFileSync(path))
  const named = (key: string): string => (/^(?:chained_\d+\.)?optimizer\./.test(key) ? `mimo.language.${key}` : /^(?:embedding|decoder|output_layer)\./.test(key) ? `language_model.module.${key}` : key)
  const other = decodeMetadata(readFileSync(join(tower, ".metadata")))
  const images = [...other.tensors].filter(([key]) => key.startsWith("modality_submodules."))
  const [file, ...more] = new Set(images.flatMap(([, { chunks }]) => chunks.map((chunk) => chunk.file)))
  expect(more).toEqual([])
  copyFileSync(join(tower, file!), join(folder, TOWER))
  writeFileSync(path, encodeMetadata({
    ...rest,
    tensors: new Map([
      ...[...tensors].map(([key, tensor]) => [named(key), tensor] as const),
      ...images.map(([key, tensor]) => [key.replace("submodules.images.", "submodules.images.module."), { ...tensor, chunks: tensor.chunks.map((chunk) => ({ ...chunk, file: TOWER })) }] as const)
    ]),
    objects: new Map([...objects].map(([key, object]) => [named(key), object]))
  }))
  return parent
}

it("is taken out of them, proved against the component's weights, and is what the language model's run has in model space", async () => {
  const made = await to(mimoOf("lm-dp-reshardable-dp2"), { components: ["language=tp=2", "images=tp=1"], rng: "drop" })
  const found = await summaries(iterationIn(made))
  const { expectedModelSpace, tensors } = trainingFacts("lm-fully-reshardable-dp2") as ReturnType<typeof trainingFacts>
  const wanted = plain(expectedModelSpace ?? tensors)
  for (const [key, facts] of Object.entries(wanted)) {
    const state = /^(optimizer\.state\.[^.]+\.)(.+)$/.exec(key)
    const own = state ? `mimo.language.${state[1]}language_model.module.${state[2]}` : `language_model.module.${key}`
    expect([own, found[own]]).toEqual([own, facts])
  }
})
