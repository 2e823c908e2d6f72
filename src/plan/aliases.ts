/**
 * Tensors of which a family says that they repeat others: a stored head that is the embedding, copies that multi-token
 * prediction has of both. Names and shapes cannot tell whether they do; here their contents are compared, which reads them.
 */
import { Effect } from "effect"
import type { Family, ModelDescription } from "../bridge/Family.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { wholeTensor } from "../space/TensorSpace.ts"
import { sameShape } from "../tensor/Copy.ts"
import { isFloat } from "../tensor/DType.ts"
import { converting } from "../io/attempt.ts"
import { commonDtype } from "./dtypes.ts"
import type { ExportPlan } from "./ExportDraft.ts"
import type { HfSource } from "../space/HfSource.ts"
import { describeModel } from "../space/describeModel.ts"
import type { DescribedSource } from "./importRelation.ts"
import { unequal } from "./unequal.ts"

export interface Alias {
  readonly name: string
  /** What it should repeat. */
  readonly of: string
}

/** Where both are stored, in comparable shapes. */
const storedAliases = ({ carried }: ModelDescription, { tensors }: HfWeights): ReadonlyArray<Alias> =>
  carried.flatMap(({ alias, pattern }) => {
    const [own, other] = [tensors.get(pattern), alias === undefined ? undefined : tensors.get(alias)]
    return own && other && sameShape(own.shape, other.shape) && isFloat(own.dtype) && isFloat(other.dtype) ? [{ name: pattern, of: alias! }] : []
  })

/** The names of those that hold other values. */
export const differing = Effect.fnUntraced(function*(aliases: ReadonlyArray<Alias>, source: HfWeights) {
  const comparisons = yield* converting(() => aliases.map(({ name, of }) => {
    const [own, other] = [source.tensors.get(name)!, source.tensors.get(of)!]
    const dtype = commonDtype(own.dtype, other.dtype, name)
    const array = (tensor: typeof own) => ({ id: name, dtype, shape: own.shape, copies: () => wholeTensor(tensor, name) })
    return { array: array(own), with: array(other) }
  }))
  return yield* unequal("copies of other tensors", comparisons)
})

/** The source described with what the contents say. */
export const describedByContents = Effect.fnUntraced(function*(family: Family, source: HfSource, described: DescribedSource) {
  const { description, headers, logical } = described
  const aliases = storedAliases(description, logical)
  const other = yield* differing(aliases, logical)
  const { vocabulary } = description
  const ownHead = vocabulary?.tied === true && other.has(vocabulary.head)
  const notes = aliases.flatMap(({ name, of }) =>
    name === vocabulary?.head
      ? [ownHead
        ? `${name} is not ${of}, although ${saidBy(described)}; converted with a head of its own, as transformers 5 loads it (loaders that go by the flag discard it)`
        : `${name} holds the same values as ${of}, which has been compared: converted with one matrix for both`]
      : other.has(name)
      ? [`${name} is not ${of}, which the trainer's model uses in its place; it travels along unchanged, and training does not reach it`]
      : [])
  return {
    ...described,
    ...(ownHead ? { description: yield* converting(() => describeModel(family, source, { ...headers, ownHead })) } : {}),
    notes
  } satisfies DescribedSource
})

const saidBy = ({ description: { vocabulary } }: DescribedSource): string => {
  const flags = (vocabulary?.said?.flags ?? []).filter((flag) => flag.tied).map((flag) => `${flag.path} is true`)
  return flags.length > 0 ? flags.join(" and ") : "models of this class share one matrix unless config.json says otherwise"
}

/**
 * An export whose model has a head of its own although config.json says otherwise: config.json follows, unless --hf-model has
 * had such a head under the same flags.
 */
export const withOwnHead = Effect.fnUntraced(function*(plan: ExportPlan) {
  const { original, ownHead } = plan
  if (!ownHead) return plan
  const kept = ownHead.stored && original !== undefined && (yield* differing([ownHead], original)).has(ownHead.name)
  const note = kept
    ? `${ownHead.name} is written as a matrix of its own; config.json says, as that of --hf-model does, that ${ownHead.of} serves as both (transformers 5 goes by the tensors, other loaders by the flag)`
    : `${ownHead.name} is written as a matrix of its own, and config.json says so: ${ownHead.fields.map((field) => `${field.path} is ${field.value}`).join(", ")}`
  return {
    ...plan,
    configFields: kept ? plan.configFields : [...plan.configFields, ...ownHead.fields],
    report: { ...plan.report, notes: [...plan.report.notes, note] }
  } satisfies ExportPlan
})
