/**
 * A directory of `peft`, opened: its configuration and the matrices of each adapter, by the path of the module or wrapper that they
 * belong to. Headers only. Names of older releases and of single adapters (`lora_A.default.weight`) are read, too.
 */
import { Effect } from "effect"
import { join } from "node:path"
import { InvalidFile, quote, some, Unsupported } from "../errors.ts"
import { reading } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { storeToRead } from "../publish/staging/storeToRead.ts"
import { realPathInside } from "../safetensors/locate.ts"
import { openStoredWeights } from "../space/openStoredWeights.ts"
import { type StoredWeights } from "../space/StoredWeights.ts"
import type { RangePlace, SpaceTensor } from "../space/TensorSpace.ts"
import { existing } from "../store/existing.ts"
import { readSmall } from "../store/readSmall.ts"
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS, LARGEST_ADAPTER_CONFIG, type PeftConfig, readPeftConfig } from "./peftConfig.ts"
import { PREFIX } from "./peftPair.ts"
import { type Halves, withShared } from "./sharedMatrix.ts"

/** The matrices of one adapter as they are stored. */
export interface PeftMatrices {
  readonly a: SpaceTensor<RangePlace>
  readonly b: SpaceTensor<RangePlace>
  readonly magnitude?: SpaceTensor<RangePlace>
  /** Which of them is that of all experts of a layer. */
  readonly shared?: "a" | "b"
}

export interface PeftDirectory {
  readonly directory: string
  readonly config: PeftConfig
  readonly configPath: string
  readonly configBytes: Uint8Array
  readonly weights: StoredWeights
  /** By what stands before `.lora_A`, without `base_model.model.`. */
  readonly modules: ReadonlyMap<string, PeftMatrices>
}

type Side = Exclude<keyof PeftMatrices, "shared">

const SIDES: Readonly<Record<string, Side>> = { lora_A: "a", lora_B: "b", lora_magnitude_vector: "magnitude" }

const NAME = /^(?:base_model\.model\.)?(.+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.default)?(?:\.weight)?$/

/** The module and the side of a name; undefined for one that is no matrix of an adapter. */
export const peftPartsOf = (name: string): { readonly module: string; readonly side: Side } | undefined => {
  const [, module, side] = NAME.exec(name) ?? []
  return module === undefined ? undefined : { module: module.startsWith(PREFIX) ? module.slice(PREFIX.length) : module, side: SIDES[side!]! }
}

const modulesOf = (weights: StoredWeights, path: string): ReadonlyMap<string, PeftMatrices> => {
  const found = new Map<string, Halves<SpaceTensor<RangePlace>>>()
  const others: Array<string> = []
  for (const tensor of weights.tensors.values()) {
    const parts = peftPartsOf(tensor.name)
    if (!parts) others.push(tensor.name)
    else found.set(parts.module, { ...found.get(parts.module), [parts.side]: tensor })
  }
  if (others.length > 0) {
    throw new Unsupported({
      code: "unsupported/adapter",
      what: path,
      problem: `${others.length} of its tensors are no matrices of an adapter (embeddings, biases, whole modules have no place in a trainer's adapter): ${some(others, 5)}`,
      hint: "Merge with peft first, and convert the model."
    })
  }
  const whole = withShared(found)
  const half = [...whole].find(([, { a, b }]) => !a || !b)
  if (half) throw new InvalidFile({ path, code: "adapter/half", problem: `${quote(half[0])} has ${half[1].a ? "A without B" : half[1].b ? "B without A" : "a magnitude without A and B"}` })
  return whole as ReadonlyMap<string, PeftMatrices>
}

/** Whether `path` is a directory of `peft`, by the names in it. */
export const isPeftDirectory = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeToRead(path)
  return yield* reading(async () => (await existing(store, path)).kind === "directory" && (await store.list(path)).includes(ADAPTER_CONFIG))
})

/** Open the directory `path`. InvalidFile for what is none; Unsupported `unsupported/adapter` for what has no place in a trainer. */
export const openPeft = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeInUse
  const opened = yield* storeToRead(path)
  const configPath = join(path, ADAPTER_CONFIG)
  const configBytes = yield* reading(async () => {
    if ((await existing(opened, path)).kind !== "directory") throw new InvalidFile({ path, code: "adapter/no-config", problem: `is no directory with ${ADAPTER_CONFIG}` })
    const names = await opened.list(path)
    if (!names.includes(ADAPTER_CONFIG)) throw new InvalidFile({ path, code: "adapter/no-config", problem: `has no ${ADAPTER_CONFIG}: rank and alpha are in it` })
    if (!names.includes(ADAPTER_WEIGHTS) && names.includes("adapter_model.bin")) {
      throw new Unsupported({ code: "unsupported/adapter", what: join(path, "adapter_model.bin"), problem: "the adapter is a pickle, which is not read", hint: "Load it with peft and save it again: save_pretrained writes safetensors." })
    }
    return readSmall(store, await realPathInside(opened, path, ADAPTER_CONFIG), configPath, LARGEST_ADAPTER_CONFIG)
  })
  const config = yield* reading(() => readPeftConfig(configPath, configBytes))
  const weights = yield* openStoredWeights(join(path, ADAPTER_WEIGHTS))
  const modules = yield* reading(() => modulesOf(weights, join(path, ADAPTER_WEIGHTS)))
  return { directory: path, config, configPath, configBytes, weights, modules } satisfies PeftDirectory
})
