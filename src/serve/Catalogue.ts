/** What can be streamed: tensors under their Hugging Face names, in the order of the model, and what a consumer selects of them. */
import { createHash } from "node:crypto"
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { TargetArray } from "../engine/index.ts"
import { quote, StreamRefused } from "../errors.ts"
import { matchesStars } from "../plan/match.ts"
import { bytesOfTensor } from "../space/TensorSpace.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { LONGEST_NAME, type Selection, type StreamedTensor } from "./protocol.ts"
import { sliced, shardSlice, sliceShape } from "./slices.ts"

export interface OfferedTensor {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  readonly component: string | undefined
  /** The Megatron parameters that it is made of: how an engine's ranks share it. Empty: every rank has it whole. */
  readonly parameters: ReadonlyArray<BoundParameter>
  readonly array: () => TargetArray
}

/** The weights of a model, before anybody selects. */
export interface OfferedWeights {
  readonly tensors: ReadonlyArray<OfferedTensor>
  /** Which weights they are: another text as soon as a file is another one. */
  readonly identity: string
  /** Parameters are known, so that parts for an engine's ranks can be cut. */
  readonly cuttable: boolean
  /** Rejects with StreamRefused `stream/changed` once the files are not what they were. */
  readonly unchanged: () => Promise<void>
}

/** What one consumer gets; equal selections share one. */
export interface Selected {
  readonly key: string
  readonly identity: string
  readonly tensors: number
  readonly bytes: number
  /** The tensor number `at` of the selection. */
  readonly tensor: (at: number) => { readonly description: StreamedTensor; readonly bytes: number; readonly array: () => TargetArray }
  /** Where a name stands in the selection. */
  readonly find: (name: string) => number | undefined
}

const refuse = (code: string, problem: string, hint?: string): never => {
  throw new StreamRefused({ code: `stream/${code}`, problem, ...(hint === undefined ? {} : { hint }) })
}

const keyOf = ({ components, shard, tensors }: Selection): string =>
  JSON.stringify([components === undefined ? null : [...new Set(components)].sort(), tensors === undefined ? null : [...new Set(tensors)].sort(), shard === undefined || shard.tp === 1 ? null : [shard.tp, shard.rank]])

const chosen = ({ tensors }: OfferedWeights, { components, tensors: patterns }: Selection): Uint32Array => {
  const known = new Set(tensors.map(({ component }) => component))
  const unknown = components?.find((name) => !known.has(name))
  if (unknown !== undefined) refuse("component", `there is no component ${quote(unknown)}`, `Components: ${[...known].filter((name) => name !== undefined).map((name) => quote(name)).join(", ")}.`)
  const idle = patterns?.find((pattern) => !tensors.some(({ name }) => matchesStars(pattern, name)))
  if (idle !== undefined) refuse("tensors", `no tensor matches ${quote(idle)}`)
  return Uint32Array.from(tensors.flatMap(({ component, name }, at) =>
    (components === undefined || components.includes(component!)) && (patterns === undefined || patterns.some((pattern) => matchesStars(pattern, name))) ? [at] : []))
}

/**
 * What a selection means for these weights. @throws StreamRefused `stream/component`, `stream/tensors`, `stream/shard`: a component
 * that there is not, a pattern that matches nothing, a tensor that cannot be cut so.
 */
export const select = (weights: OfferedWeights, selection: Selection): Selected => {
  const key = keyOf(selection)
  const { shard } = selection
  if (shard !== undefined && shard.tp > 1 && !weights.cuttable) {
    refuse("shard", "how the tensors of this model are cut for an engine's ranks is not known here", "Stream from its Megatron checkpoint, or take whole tensors.")
  }
  const order = chosen(weights, selection)
  const tensor: Selected["tensor"] = (at) => {
    const { array, component, dtype, name, parameters, shape } = weights.tensors[order[at]!]!
    const slice = shard === undefined ? undefined : shardSlice(name, shape, parameters, shard)
    const streamed = slice === undefined ? shape : sliceShape(shape, slice)
    return {
      description: { name, dtype, shape: streamed, ...(component === undefined ? {} : { component }), ...(slice === undefined ? {} : { whole: { shape, ...slice } }) },
      bytes: bytesOfTensor(dtype, streamed),
      array: () => (slice === undefined ? array() : sliced(array(), slice))
    }
  }
  const hash = createHash("sha256").update(weights.identity).update(key)
  let bytes = 0
  for (let at = 0; at < order.length; at++) {
    const { bytes: own, description } = tensor(at)
    if (Buffer.byteLength(description.name) > LONGEST_NAME) refuse("name", `the name ${quote(description.name.slice(0, 60))}… has more than ${LONGEST_NAME} bytes`)
    hash.update(JSON.stringify(description))
    bytes += own
  }
  let places: ReadonlyMap<string, number> | undefined
  return {
    key, tensor, bytes, tensors: order.length, identity: hash.digest("hex"),
    find: (name) => (places ??= new Map(Array.from(order, (index, at) => [weights.tensors[index]!.name, at]))).get(name)
  }
}
