/** A component's optimizer state out of its buckets: which run it was, which order of registration fits, and the proof. */
import { Effect } from "effect"
import { converting } from "../../io/attempt.ts"
import { innermostLayer } from "../../model/layerKeys.ts"
import { stateModule } from "../../model/shardKey.ts"
import { modalityOf } from "../../model/storedKey.ts"
import { standardLayout, STANDARD_COMPONENT } from "../../parallel/Layout.ts"
import type { ModuleParallelism } from "../../parallel/ModuleParallelism.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import { LANGUAGE } from "../../runconfig/parallelism.ts"
import type { PickleValue } from "../../torch/PickleValue.ts"
import { chunksOf } from "../../space/TensorSpace.ts"
import type { Content } from "../Contents.ts"
import { pipelineOf } from "../placing.ts"
import type { BucketOptimizer } from "./bucketKeys.ts"
import { contentsOf, fittedOptimizer, type RunOfComponent } from "./buckets.ts"
import type { OptimizerSource } from "./OptimizerSource.ts"
import { mimoItems, rankObjects, sharedValues } from "./groups.ts"
import type { ParameterShare } from "./localParameters.ts"
import type { NewObject } from "./OptimizerState.ts"
import { firstUnproved } from "./proof.ts"
import { refusedOptimizer } from "./refused.ts"
import type { Registration } from "./registration.ts"

export interface FromBuckets {
  /** Undefined: of a standard model. */
  readonly component: string | undefined
  readonly contents: ReadonlyArray<Content>
  readonly replaced: ReadonlyArray<string>
  readonly objects: ReadonlyArray<NewObject>
  /** What ranks shared of each optimizer of the chain, by its number. */
  readonly values: ReadonlyMap<number, ReadonlyMap<string, PickleValue>>
  readonly isChain: boolean
}

/** How a run that does not say it may have been laid out: as many ranks as there are groups, and tensors cut as they are. */
const inferredLayout = (source: OptimizerSource, own: ReadonlyArray<string>, optimizers: ReadonlyArray<BucketOptimizer>): ModuleParallelism => {
  const { facts, models } = source
  const groups = optimizers[0]!.groups.size
  const cuts = own.flatMap((key) => {
    const rule = facts.ruleOf(key)
    if (rule.axis === undefined || rule.halves || rule.experts !== undefined || rule.expert) return []
    const lead = rule.layers === undefined ? 0 : 1
    return [new Set(chunksOf(models.get(key)!).map(({ offsets }) => offsets[lead + rule.axis!])).size]
  })
  const tp = Math.max(1, ...cuts)
  const pp = Math.max(1, Math.round(groups / tp))
  const ep = optimizers[1] ? Math.max(1, Math.round(optimizers[1].groups.size / pp)) : 1
  return standardLayout({ tp, pp, ep }).components[0]!.parallelism
}

const runOf = (source: OptimizerSource, component: string | undefined, optimizers: ReadonlyArray<BucketOptimizer>): RunOfComponent => {
  const { facts, models, recorded } = source
  const name = component ?? STANDARD_COMPONENT
  const belongs = (key: string) => component === undefined || (modalityOf(key) ?? LANGUAGE) === component
  const own = [...models.keys()].filter(belongs)
  const layout = recorded.get(name)?.parallelism ?? inferredLayout(source, own, optimizers)
  const stages = pipelineOf(layout, own.map((key) => facts.positionOf(key, 0)))
  const list = own.map((key) => innermostLayer(key)?.list).find((found) => found?.endsWith("decoder.layers"))
  return {
    component: name,
    facts,
    tensors: new Map(own.map((key) => [key, models.get(key)!])),
    layout,
    stageOf: (model, layer) => stages(facts.positionOf(model, layer)),
    layers: list === undefined ? 0 : facts.layersOf(list)
  }
}

/** The most likely order of registration first. Norms of Transformer Engine have module states, those of the local specification have none. */
const registrations = ({ args, checkpoint }: OptimizerSource): ReadonlyArray<Registration> => {
  const stated = args?.text("transformer_impl")
  const isEngine = stated === undefined ? [...checkpoint.metadata.objects.keys()].some((key) => stateModule(key)?.endsWith("norm")) : stated !== "local"
  const specs = isEngine ? ["transformer_engine", "local"] as const : ["local", "transformer_engine"] as const
  const experts = args?.flag("moe_grouped_gemm") === false ? ["sequential", "grouped"] as const : ["grouped", "sequential"] as const
  return specs.flatMap((spec) => experts.map((order) => ({ spec, experts: order })))
}

/** One optimizer has everything; of two, the second has the experts. */
const sharesOf = (optimizers: ReadonlyArray<BucketOptimizer>): ReadonlyArray<ParameterShare> | undefined =>
  optimizers.length === 1 ? ["all"] : optimizers.length === 2 ? ["dense", "expert"] : undefined

/** The states of all optimizers under one order of registration; undefined where it does not fit. */
const attempted = (run: RunOfComponent, optimizers: ReadonlyArray<BucketOptimizer>, shares: ReadonlyArray<ParameterShare>, registration: Registration): ReadonlyArray<Content> | undefined => {
  const contents: Array<Content> = []
  for (const [i, optimizer] of optimizers.entries()) {
    const placed = fittedOptimizer(run, optimizer, shares[i]!, registration)
    if (!placed) return undefined
    contents.push(...contentsOf(run, optimizer.component === undefined ? "" : `mimo.${optimizer.component}.`, placed))
  }
  return contents
}

/** Errors: Unsupported `unsupported/optimizer` if the buckets hold other parameters than the model has, or no order of registration is proved. */
export const contentsFromBuckets = Effect.fnUntraced(function*(source: OptimizerSource, component: string | undefined, optimizers: ReadonlyArray<BucketOptimizer>) {
  const { checkpoint: { directory, metadata }, models } = source
  const store = yield* storeInUse
  const what = `${optimizers[0]!.prefix}optimizer.distributed`
  const remainder = optimizers.flatMap(({ groups }) => [...groups.values()].flat()).find(({ buckets }) => buckets.some(({ states }) => states.get("param")?.dtype === "I16"))
  if (remainder) return yield* refusedOptimizer(what, "its master copies are stored as remainders of the weights (a precision-aware optimizer), which nothing proves to be of them")
  const shares = sharesOf(optimizers)
  if (!shares) return yield* refusedOptimizer(what, `a chain of ${optimizers.length} optimizers in buckets; which parameters each has is known for one, and for two of which the second has the experts`)
  const run = yield* converting(() => runOf(source, component, optimizers))
  let unproved: { readonly id: string; readonly differing: number; readonly elements: number } | undefined
  for (const registration of registrations(source)) {
    const contents = yield* converting(() => attempted(run, optimizers, shares, registration))
    if (!contents) continue
    const claims = contents.filter(({ key }) => /optimizer\.state\.param\./.test(key)).map((master) => ({ master, weights: models.get(master.model)! }))
    unproved = yield* firstUnproved(directory, claims)
    if (unproved) continue
    const rank = optimizers.flatMap(({ prefix }) => rankObjects(metadata, prefix))
    const values = new Map<number, ReadonlyMap<string, PickleValue>>()
    for (const { chained, prefix } of optimizers) values.set(chained, yield* converting(() => sharedValues(store, directory, rankObjects(metadata, prefix))))
    const isChain = optimizers.some(({ prefix }) => prefix.includes("chained_"))
    const objects = component === undefined ? [] : [...values].flatMap(([chained, own]) => [...mimoItems(component, chained, isChain, own)].map(([key, bytes]): NewObject => ({ key, component, bytes })))
    return { component, contents, objects, values, isChain, replaced: [...rank.map(({ key }) => key), ...objects.map(({ key }) => key)] } satisfies FromBuckets
  }
  return yield* refusedOptimizer(what, unproved
    ? `put together in the order in which trainers register parameters, the master copy of ${unproved.id} is not that of the stored weights (${unproved.differing} of ${unproved.elements} elements differ)`
    : "the lengths and borders of the buckets are not those of this model's parameters in any known order")
})
