/** What adapters a space has, with their settings and, where wanted, how large their changes are. Needs no base model. */
import { Effect } from "effect"
import { join } from "node:path"
import { type BridgeError, isBridgeError } from "../../errors.ts"
import { converting } from "../../io/attempt.ts"
import { isAdapterKey } from "../../model/adapterKey.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import { realPathInside } from "../../safetensors/locate.ts"
import type { UnroutedSpace } from "../../space/OpenedSpace.ts"
import { readSmall } from "../../store/readSmall.ts"
import { storeToRead } from "../../publish/staging/storeToRead.ts"
import { volume } from "../../tensor/Copy.ts"
import { patterned, scaleOf, wrapped } from "../bindPeft.ts"
import { ADAPTER_CONFIG, LARGEST_ADAPTER_CONFIG, type PeftConfig, readPeftConfig } from "../peftConfig.ts"
import { peftPartsOf } from "../PeftDirectory.ts"
import { recordedSettings } from "../recordedSettings.ts"
import type { AdapterFacts, AdapterModule } from "./AdapterFacts.ts"
import { measurePairs, type PairNorms } from "./measurePairs.ts"
import { type FoundPair, type FoundPairs, megatronPairs, peftPairs } from "./storedPairs.ts"

export interface SurveyOptions {
  /** Read the matrices, and measure what they change. */
  readonly norms: boolean
}

/** What a configuration says, or why it cannot be read: what is wrong with it keeps nobody from looking at the tensors. */
const readable = <A>(effect: Effect.Effect<A, BridgeError>) =>
  effect.pipe(
    Effect.map((value) => ({ value, problem: undefined })),
    Effect.catchIf((error): error is BridgeError => isBridgeError(error) && (error._tag === "InvalidFile" || error._tag === "Unsupported"), (error) =>
      Effect.succeed({ value: undefined, problem: error.summary }))
  )

const peftConfigIn = Effect.fnUntraced(function*(directory: string) {
  const store = yield* storeInUse
  const opened = yield* storeToRead(directory)
  return yield* readable(converting(async () => {
    if (!(await opened.list(directory)).includes(ADAPTER_CONFIG)) return undefined
    const path = join(directory, ADAPTER_CONFIG)
    return readPeftConfig(path, await readSmall(store, await realPathInside(opened, directory, ADAPTER_CONFIG), path, LARGEST_ADAPTER_CONFIG))
  }))
})

const moduleOf = (pair: FoundPair, scale: number | undefined, norms: PairNorms | undefined): AdapterModule => {
  const { a, experts, inputs, layer, magnitude, module, outputs, rank, slot, stack } = pair
  return {
    module,
    ...(slot === undefined ? {} : { slot }),
    ...(stack === undefined ? {} : { stack }),
    ...(layer === undefined ? {} : { layer }),
    dtype: a[0]!.tensor.dtype,
    rank,
    inputs,
    outputs,
    ...(experts === undefined ? {} : { experts }),
    ...(scale === undefined ? {} : { scale }),
    magnitude,
    ...(norms === undefined ? {} : { norm: norms.change * Math.abs(scale ?? 1), outputNorm: norms.output })
  }
}

const modulesOf = Effect.fnUntraced(function*({ pairs }: FoundPairs, scaleOfPair: (pair: FoundPair) => number | undefined, { norms }: SurveyOptions) {
  const measured = norms ? yield* measurePairs(pairs) : new Map<FoundPair, PairNorms>()
  return pairs.map((pair) => moduleOf(pair, scaleOfPair(pair), measured.get(pair)))
})

/** The parameter that a wrapper is for, else the module itself: what patterns are told of. */
const patternPath = (module: string, { targetParameters }: PeftConfig): string => wrapped(module, targetParameters) ?? module

const surveyPeft = Effect.fnUntraced(function*(space: UnroutedSpace, options: SurveyOptions) {
  const { problem, value: config } = yield* peftConfigIn(space.directory)
  const rankOf = (module: string) => config && patterned(config.rankPattern, patternPath(module, config), config.rank)
  // Only wrappers of parameters hold several experts; of a module the tensors say the rank.
  const found = peftPairs(space.tensors.values(), (module) => (config && wrapped(module, config.targetParameters) !== undefined ? rankOf(module) : undefined))
  const modules = yield* modulesOf(found, ({ module, rank }) => config && scaleOf(patternPath(module, config), config, rank), options)
  return {
    kind: "peft",
    form: config?.dora || found.pairs.some(({ magnitude }) => magnitude) ? "dora" : "lora",
    ...(config ? {
      rank: config.rank,
      alpha: config.alpha,
      dropout: config.dropout,
      ...(config.rankStabilised ? { rankStabilised: true } as const : {}),
      base: config.base
    } : {}),
    targetModules: config === undefined ? [] : typeof config.targetModules === "string" ? [config.targetModules] : config.targetModules,
    targetParameters: config?.targetParameters ?? [],
    ...(found.pairs.some(({ shared }) => shared) ? { sharedOuter: true } as const : {}),
    parameters: parametersOf(space, (name) => peftPartsOf(name) !== undefined),
    modules,
    unpaired: found.unpaired,
    ...(problem === undefined ? {} : { problem })
  } satisfies AdapterFacts
})

const parametersOf = ({ tensors }: UnroutedSpace, counts: (name: string) => boolean): number =>
  Iterator.from(tensors.values()).filter(({ name }) => counts(name)).reduce((sum, { shape }) => sum + volume(shape), 0)

const surveyMegatron = Effect.fnUntraced(function*(space: UnroutedSpace, options: SurveyOptions) {
  const store = yield* storeInUse
  const { problem, value: recorded } = yield* readable(converting(() => recordedSettings(store, space.directory)))
  const found = megatronPairs(Iterator.from(space.tensors.values()).filter(({ role }) => role === "model"))
  const modules = yield* modulesOf(found, ({ rank }) => recorded && recorded.alpha / rank, options)
  const form = recorded?.form ?? (modules.some(({ magnitude }) => magnitude) ? "dora" : modules.some(({ slot }) => slot !== undefined) ? "canonical" : "lora")
  return {
    kind: "megatron",
    form,
    ...(recorded ? { rank: recorded.rank, alpha: recorded.alpha, dropout: recorded.dropout, ...(recorded.base === undefined ? {} : { base: recorded.base }) } : {}),
    targetModules: recorded?.targetModules ?? [],
    targetParameters: [],
    parameters: parametersOf(space, isAdapterKey),
    modules,
    unpaired: found.unpaired,
    ...(problem === undefined ? {} : { problem })
  } satisfies AdapterFacts
})

/** The adapters of a space; undefined where it has none. Errors: those of reading its tensors. */
export const surveyAdapters = Effect.fnUntraced(function*(space: UnroutedSpace, options: SurveyOptions) {
  const names = Iterator.from(space.tensors.keys())
  if (space.kind === "safetensors" && names.some((name) => peftPartsOf(name) !== undefined)) return yield* surveyPeft(space, options)
  if (space.kind === "megatron" && names.some(isAdapterKey)) return yield* surveyMegatron(space, options)
  return undefined
})
