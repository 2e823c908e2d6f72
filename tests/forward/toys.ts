/**
 * Toy decoders of many families, as Hugging Face directories: `node tests/forward/toys.ts OUT` writes `OUT/NAME` for each. Their weights are
 * hashes of their names (src/conformance/WeightGenerator.ts); norms that are not deviations from 1 get 1 added.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { families } from "../../routes/index.ts"
import { narrowed, widened } from "../../src/arithmetic/convert.ts"
import { fillWeights } from "../../src/conformance/WeightGenerator.ts"
import { writeSafetensors } from "../../src/safetensors/node.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { volume } from "../../src/tensor/Copy.ts"
import { tensorsOf } from "../families/tensorsOf.ts"

const TOYS = new URL("./toys/", import.meta.url)

/** The text that every toy is given. */
export const TOKENS: ReadonlyArray<number> = Array.from({ length: 24 }, (_, i) => (37 * i + 5) % 256)

/** Positions, the last ones, whose logits as transformers computes them are in logits.json. */
export const KEPT = 2

export const toyNames: ReadonlyArray<string> = readdirSync(TOYS).map((file) => file.replace(".json", "")).sort()

const configText = (name: string): string => readFileSync(new URL(`${name}.json`, TOYS), "utf8")

export const toyConfig = (name: string): unknown => JSON.parse(configText(name))

const zeroCentred = (config: unknown): boolean => {
  const family = families.find(config)
  return family.describe(family.schema.parse(config), noHeaders).modules.some((module) => module.kind === "language" && module.forward?.zeroCentred === true)
}

export const writeToy = async (name: string, directory: string): Promise<void> => {
  const config = toyConfig(name)
  const plainNorms = !zeroCentred(config)
  const tensors = tensorsOf(config).map(({ name, shape }) => {
    const bytes = new Uint8Array(2 * volume(shape))
    fillWeights(bytes, name, "BF16", 0, { fp32Islands: false })
    const isNorm = plainNorms && /norm\w*\.weight$/.test(name)
    return { name, dtype: "BF16" as const, shape, data: isNorm ? narrowed(widened({ bytes, dtype: "BF16" }).map((n) => n + 1), "BF16") : bytes }
  })
  mkdirSync(directory, { recursive: true })
  // As it is: Python tells 0.0 from 0.
  writeFileSync(join(directory, "config.json"), configText(name))
  writeFileSync(join(directory, "tokens.json"), JSON.stringify(TOKENS))
  await writeSafetensors(join(directory, "model.safetensors"), tensors, { metadata: new Map([["format", "pt"]]) })
}

const [, program, out] = process.argv
if (program === import.meta.filename && out !== undefined) {
  for (const name of toyNames) await writeToy(name, join(out, name))
}
