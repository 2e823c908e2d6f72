/** In which form an optimizer's state is stored, and how it gets into one that every layout can load (training-checkpoints.md 2). */
import { Effect } from "effect"
import { converting } from "../../io/attempt.ts"
import { modelKeyOf, unwrapKey } from "../../model/storedKey.ts"
import { withEntries } from "../../torch/ArchiveEdit.ts"
import { PickleDict, type PickleValue } from "../../torch/PickleValue.ts"
import type { PyRead } from "../../torch/PyValue.ts"
import { type Content, storedContent } from "../Contents.ts"
import { bucketOptimizers, isBucketKey } from "./bucketKeys.ts"
import { contentsFromBuckets } from "./fromBuckets.ts"
import { flattenedContent } from "./flattened.ts"
import { commonOptimizer, FULLY_RESHARDABLE } from "./groups.ts"
import type { OptimizerSource } from "./OptimizerSource.ts"
import { MODEL_SPACE, type OptimizerState } from "./OptimizerState.ts"
import { type Claim, firstUnproved } from "./proof.ts"
import { refusedOptimizer } from "./refused.ts"

const entry = (value: PyRead | undefined, name: string): PyRead | undefined =>
  value instanceof Map ? (value as ReadonlyMap<PyRead, PyRead>).get(name) : undefined

/** What the trainer calls the form. */
const statedForm = (common: PyRead | undefined): string | undefined => {
  const stated = entry(entry(common, "content_metadata"), "distrib_optim_sharding_type")
  return typeof stated === "string" ? stated : undefined
}

/** Optimizer entries of one model tensor each, as they are stored or out of flat fragments. */
const modelSpace = ({ checkpoint: { metadata }, componentOf, entries, facts, models }: OptimizerSource): ReadonlyArray<Content> =>
  [...entries.tensors].flatMap(([key, tensor]) => {
    const own = tensor.role === "optimizer" ? modelKeyOf(key) : undefined
    if (!own) return []
    return [metadata.flattened?.has(key) ? flattenedContent(tensor, componentOf(key), models, facts) : storedContent(tensor, unwrapKey(own.key), componentOf(key))]
  })

const masters = (contents: ReadonlyArray<Content>, { models }: OptimizerSource): ReadonlyArray<Claim> =>
  contents.filter(({ key, model, stored }) => stored === undefined && /optimizer\.state\.param\./.test(key) && models.has(model))
    .map((master) => ({ master, weights: models.get(master.model)! }))

const flattenedState = Effect.fnUntraced(function*(source: OptimizerSource, contents: ReadonlyArray<Content>) {
  const { checkpoint: { directory } } = source
  const wrong = yield* firstUnproved(directory, masters(contents, source))
  if (wrong) return yield* refusedOptimizer(wrong.id, `its flat master copy is not that of the stored weights (${wrong.differing} of ${wrong.elements} elements differ)`)
  return {
    from: "fully_sharded_model_space",
    to: FULLY_RESHARDABLE,
    contents,
    replaced: new Set<string>(),
    objects: [],
    optimizer: (old: PickleValue | undefined) => withForm(old),
    notes: ["the optimizer's state was stored in flat fragments, which Megatron-Core since 0.16 refuses; it is in the shape of its tensors now"]
  } satisfies OptimizerState
})

/** Every `param_state_sharding_type` of an `optimizer` entry says the new form. */
const withForm = (old: PickleValue | undefined): PickleDict => {
  const dict = old instanceof PickleDict ? old : new PickleDict()
  if (dict.get("param_state_sharding_type") !== undefined) return withEntries(dict, new Map([["param_state_sharding_type", FULLY_RESHARDABLE]]))
  const changes = new Map<string | number, PickleDict>()
  for (let i = 0; i < dict.entries.length; i += 2) {
    const [key, value] = [dict.entries[i], dict.entries[i + 1]]
    if ((typeof key === "number" || typeof key === "string") && value instanceof PickleDict && value.get("param_state_sharding_type") !== undefined) {
      changes.set(key, withEntries(value, new Map([["param_state_sharding_type", FULLY_RESHARDABLE]])))
    }
  }
  return withEntries(dict, changes)
}

const bucketState = Effect.fnUntraced(function*(source: OptimizerSource, others: ReadonlyArray<Content>) {
  const byComponent = Map.groupBy(bucketOptimizers(source.entries), ({ component }) => component)
  const parts = []
  for (const [component, optimizers] of byComponent) parts.push(yield* contentsFromBuckets(source, component, optimizers))
  const alone = parts.find(({ component }) => component === undefined)
  return {
    from: statedForm(source.common) ?? "dp_reshardable",
    to: FULLY_RESHARDABLE,
    contents: [...others, ...parts.flatMap(({ contents }) => contents)],
    replaced: new Set(parts.flatMap(({ replaced }) => replaced)),
    objects: parts.flatMap(({ objects }) => objects),
    optimizer: (old: PickleValue | undefined) => (alone ? commonOptimizer(old, alone.values, alone.isChain) : old),
    notes: ["the optimizer's state was stored in buckets, which only the same tp, pp and ep can load; it is in the shape of its tensors now, and every master copy, rounded, is its stored weight"]
  } satisfies OptimizerState
})

/**
 * Errors: Unsupported `unsupported/optimizer` for a form that only its own layout can load and that cannot be taken apart; those of reading.
 */
export const optimizerState = Effect.fnUntraced(function*(source: OptimizerSource) {
  const { checkpoint: { metadata }, common, entries } = source
  const keys = [...entries.tensors.values()].flatMap(({ name, role }) => (role === "optimizer" ? [name] : []))
  const gathered = [...metadata.objects.keys()].find((key) => /optimizer\.distributed\.dp_group_idx_\d+\.param_state\//.test(key))
  if (gathered !== undefined) return yield* refusedOptimizer(gathered, "the optimizer's state of each group of ranks is one object (dp_zero_gather_scatter)")
  const foreign = keys.find((key) => modelKeyOf(key) === undefined && !isBucketKey(key))
  if (foreign !== undefined) return yield* refusedOptimizer(foreign, "is optimizer state of no form that is known here")
  const contents = yield* converting(() => modelSpace(source))
  if (keys.some(isBucketKey) && source.bucketsStay) {
    const form = statedForm(common) ?? "dp_reshardable"
    const buckets = keys.filter(isBucketKey).map((key) => storedContent(entries.tensors.get(key)!, key, source.componentOf(key)))
    return { from: form, to: form, contents: [...contents, ...buckets], replaced: new Set<string>(), objects: [], optimizer: (old: PickleValue | undefined) => old, notes: [] } satisfies OptimizerState
  }
  if (keys.some(isBucketKey)) return yield* bucketState(source, contents)
  if (contents.some(({ stored }) => stored === undefined)) return yield* flattenedState(source, contents)
  const form = statedForm(common) ?? MODEL_SPACE
  return { from: form, to: form, contents, replaced: new Set<string>(), objects: [], optimizer: (old: PickleValue | undefined) => old, notes: [] } satisfies OptimizerState
})
