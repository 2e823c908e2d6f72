/**
 * Toy models of every family: from the conformance cases where the reference system wrote one (their own config and tensors),
 * from `toys/*.json` elsewhere (the tensors follow from the family's rows, or stand beside the config).
 */
import { readdirSync, readFileSync } from "node:fs"
import { families } from "../../routes/index.ts"
import { architectureOf } from "../../src/bridge/FamilyRegistry.ts"
import { readCase, type SourceTensor } from "../../src/conformance/Case.ts"
import { configText } from "../../src/conformance/configText.ts"
import type { HfSource } from "../../src/space/HfSource.ts"
import { parseJson } from "../../src/document/StrictJson.ts"
import { encodeHeader } from "../../src/safetensors/encodeHeader.ts"
import { storedWeights } from "../../src/space/StoredWeights.ts"
import type { DType } from "../../src/tensor/DType.ts"
import { tensorsOf } from "./tensorsOf.ts"

export interface Toy {
  readonly name: string
  readonly architecture: string
  readonly configText: string
  readonly config: Record<string, unknown>
  readonly tensors: ReadonlyArray<SourceTensor>
}

const CASES = new URL("../conformance/cases/", import.meta.url)
const TOYS = new URL("./toys/", import.meta.url)

const jsonIn = (directory: URL): ReadonlyArray<string> => {
  try {
    return readdirSync(directory).filter((n) => n.endsWith(".json")).sort()
  } catch {
    return []
  }
}

const fromCases = (): ReadonlyArray<Toy> =>
  jsonIn(CASES).map((file) => {
    const c = readCase(readFileSync(new URL(file, CASES)))
    return { name: c.case, architecture: c.architecture, configText: c.hf.configText, config: c.hf.config, tensors: c.hf.tensors }
  }).filter((toy) => families.architectures.includes(toy.architecture))

/** A toy file is a config.json, or `{ hf: { config, tensors } }` as in a case where the tensors show what the config does not. */
const fromToys = (): ReadonlyArray<Toy> =>
  jsonIn(TOYS).map((file) => {
    const text = readFileSync(new URL(file, TOYS), "utf8")
    const document = JSON.parse(text) as Record<string, unknown> & { readonly hf?: { readonly config: Record<string, unknown>; readonly tensors: ReadonlyArray<[string, DType, Array<number>, string]> } }
    const config = document.hf?.config ?? document
    return {
      name: file.replace(".json", ""),
      architecture: architectureOf(config),
      configText: configText(document.hf ? text : `{"hf":{"config":${text}}}`),
      config,
      tensors: document.hf?.tensors.map(([name, dtype, shape, shard]) => ({ name, dtype, shape, file: shard })) ?? tensorsOf(config)
    }
  })

/** Each model once: cases of one model under several layouts have the same config and tensors. */
export const toys: ReadonlyArray<Toy> = [
  ...new Map([...fromCases(), ...fromToys()].map((toy) => [JSON.stringify([toy.config, toy.tensors]), toy])).values()
]

/** An opened HF directory that exists in memory only: enough for plans. */
export const sourceOf = (toy: Pick<Toy, "architecture" | "configText">, tensors: ReadonlyArray<SourceTensor>): HfSource => {
  const bytes = Buffer.from(toy.configText)
  const files = [...Map.groupBy(tensors, (t) => t.file)]
  const shards = files.map(([file, own], shard) => {
    const header = encodeHeader(own)
    return {
      file,
      path: `/toy/${file}`,
      size: header.fileSize,
      identity: file,
      stamp: file,
      headerBytes: header.headerBytes,
      metadata: undefined,
      tensors: header.tensors.map((tensor) => ({ ...tensor, shard }))
    }
  })
  const weights = storedWeights({
    directory: "/toy",
    shards,
    tensors: new Map(shards.flatMap((s) => s.tensors.map((t) => [t.name, t] as const))),
    tensorBytes: 0,
    otherFiles: [],
    warnings: []
  })
  return {
    directory: "/toy",
    path: "/toy/config.json",
    bytes,
    json: parseJson(bytes, { allowNonFinite: true }),
    architecture: toy.architecture,
    weights
  }
}
