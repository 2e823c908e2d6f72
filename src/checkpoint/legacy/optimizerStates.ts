/**
 * The optimizer of every rank of a `torch` checkpoint: which of its tensors belongs to which parameter. Nothing names them; they follow
 * the order in which the rank registered its parameters, which is that of its state dict (training-checkpoints.md 4.2, 4.4). Pure.
 */
import type { TrainingArguments } from "../../arguments/TrainingArguments.ts"
import { sameShape, volume } from "../../tensor/Copy.ts"
import { bytesOf } from "../../tensor/DType.ts"
import type { PyRead } from "../../torch/PyValue.ts"
import { numberOf, PlacedTensor, type RankTensor, type RankValue } from "./RankArchive.ts"
import type { Rank } from "./pieces.ts"

/** By state (`exp_avg`, `param`, …): the tensors of one virtual stage, by the names of their parameters. */
export type ChunkStates = Map<string, Map<string, RankTensor>>

/** Why the optimizer cannot be read: for a note. */
export class NotRead {
  readonly why: string
  constructor(why: string) {
    this.why = why
  }
}

interface RankParameter {
  readonly chunk: number
  readonly name: string
  readonly tensor: RankTensor
}

/** Kept by the trainer itself, not by an optimizer. */
const BUFFER = /\.(?:expert_bias|local_tokens_per_expert)$/
const EXPERT = /\.experts\.(?:local_experts\.\d+\.)?linear_fc[12]\./
const DECOUPLED = /(?:^|\.)(?:word_embeddings|output_layer)\.weight$/

const parametersOf = ({ archive: { models } }: Rank): ReadonlyArray<RankParameter> =>
  models.flatMap(({ tensors }, chunk) => [...tensors].flatMap(([name, tensor]) => (BUFFER.test(name) ? [] : [{ chunk, name, tensor }])))

const isMap = (value: RankValue | undefined): value is ReadonlyMap<PyRead, RankValue> => value instanceof Map
const isList = (value: RankValue | undefined): value is ReadonlyArray<RankValue> => Array.isArray(value)
const entry = (value: RankValue | undefined, key: PyRead): RankValue | undefined => (isMap(value) ? value.get(key) : undefined)
const is = (value: RankValue | undefined): boolean => value === true
const count = (value: RankValue | undefined): number | undefined => numberOf(value as PyRead | undefined)

const STEP = "step"

/** A chained optimizer is several, each for parameters of its own. */
const partsOf = (value: RankValue): ReadonlyArray<RankValue> => (isList(value) ? value : [value])

const put = (states: ReadonlyArray<ChunkStates>, { chunk, name, tensor }: RankParameter, state: string, found: RankValue | undefined): NotRead | undefined => {
  if (!(found instanceof PlacedTensor)) return undefined
  if (state === STEP) return new NotRead("it counts its steps for every parameter by itself, as torch's Adam does")
  if (!sameShape(found.tensor.shape, tensor.shape)) return new NotRead(`${state} of ${name} would be [${found.tensor.shape}], the parameter is [${tensor.shape}]`)
  const own = states[chunk]!
  own.set(state, (own.get(state) ?? new Map<string, RankTensor>()).set(name, found.tensor))
  return undefined
}

/** The parameters of a group: those that decay or not, of the kind of the group. */
const membersOf = (group: RankValue, groups: ReadonlyArray<RankValue>, parameters: ReadonlyArray<RankParameter>): ReadonlyArray<RankParameter> => {
  const differ = (field: string): boolean => groups.some((other) => is(entry(other, field)) !== is(entry(group, field)))
  const noDecay = count(entry(group, "wd_mult")) === 0
  const byDecay = groups.some((other) => (count(entry(other, "wd_mult")) === 0) !== noDecay)
  return parameters.filter(({ name, tensor }) =>
    (!byDecay || (tensor.shape.length === 1 || name.endsWith(".bias")) === noDecay) &&
    (!differ("is_expert_parallel") || EXPERT.test(name) === is(entry(group, "is_expert_parallel"))) &&
    (!differ("is_decoupled_lr") || DECOUPLED.test(name) === is(entry(group, "is_decoupled_lr"))))
}

/** Of an optimizer that is not distributed: states by the numbers of parameters, masters by group. */
const numberedStates = (rank: Rank, value: RankValue): ReadonlyArray<ChunkStates> | NotRead => {
  const states = rank.archive.models.map((): ChunkStates => new Map())
  const parameters = parametersOf(rank)
  const parts = partsOf(value)
  const groupsOf = (part: RankValue): ReadonlyArray<RankValue> => {
    const groups = entry(entry(part, "optimizer") ?? part, "param_groups")
    return isList(groups) ? groups : []
  }
  const all = parts.flatMap(groupsOf)
  for (const part of parts) {
    const inner = entry(part, "optimizer") ?? part
    const masters = entry(part, "fp32_from_fp16_params")
    for (const [g, group] of groupsOf(part).entries()) {
      const ids = entry(group, "params")
      const members = membersOf(group, all, parameters)
      if (!isList(ids) || ids.length !== members.length) return new NotRead(`group ${g} has ${isList(ids) ? ids.length : 0} parameters, and ${members.length} of the rank's are like it`)
      const own = isList(masters) ? masters[g] : undefined
      for (const [i, parameter] of members.entries()) {
        const fields = entry(entry(inner, "state"), ids[i] as PyRead)
        const wrong = [
          ...(isMap(fields) ? [...fields].map(([state, found]) => put(states, parameter, String(state), found)) : []),
          put(states, parameter, "fp32_param", isList(own) ? own[i] : undefined)
        ].find((problem) => problem !== undefined)
        if (wrong) return wrong
      }
    }
  }
  return states
}

/** Starts are aligned to this many elements. */
const ALIGNMENT = 64

/** Where each parameter of a buffer begins; `bucketSize`: a bucket ends with the parameter that fills it, and its end is not padded. */
const startsIn = (parameters: ReadonlyArray<RankParameter>, bucketSize: number): { readonly starts: ReadonlyArray<number>; readonly length: number } => {
  let [bucket, cursor] = [0, 0]
  const starts = parameters.map(({ tensor }) => {
    if (cursor - bucket >= bucketSize) bucket = cursor
    const start = bucket + Math.ceil((cursor - bucket) / ALIGNMENT) * ALIGNMENT
    cursor = start + volume(tensor.shape)
    return start
  })
  return { starts, length: cursor }
}

/** Elements of a bucket where gradients are reduced while others are computed. */
const bucketSizeOf = (args: TrainingArguments | undefined): number =>
  args?.number("ddp_bucket_size") ?? Math.max(40_000_000, 1_000_000 * (args?.number("data_parallel_size") ?? 1) * (args?.number("context_parallel_size") ?? 1))

const FLAT_STATES = /^(?:param|exp_avg|exp_avg_sq|momentum_buffer)$/

/** Of a distributed optimizer: every state is one flat tensor per buffer, in which parameters lie in the reverse of their registration. */
const flatStates = (rank: Rank, value: RankValue): ReadonlyArray<ChunkStates> | NotRead => {
  const states = rank.archive.models.map((): ChunkStates => new Map())
  const parts = partsOf(value)
  const parameters = parametersOf(rank)
  const sizes = [Infinity, bucketSizeOf(rank.archive.args)]
  for (const [p, part] of parts.entries()) {
    if (part === null) continue
    for (const chunk of rank.archive.models.keys()) {
      const buffers = entry(part, chunk)
      const buffer = isMap(buffers) && buffers.size === 1 ? buffers.values().next().value : undefined
      if (!isMap(buffer)) return new NotRead(`its buffer ${chunk} is not one of one type of parameters`)
      const own = parameters.filter((one) => one.chunk === chunk && (parts.length === 1 || EXPERT.test(one.name) === (p === 1))).toReversed()
      const length = count(buffer.get("numel_unpadded"))
      const fit = sizes.map((size) => startsIn(own, size)).find((found) => found.length === length)
      if (!fit) return new NotRead(`its buffer ${chunk} has ${length} elements, in which the rank's parameters do not come out even`)
      for (const [state, flat] of buffer) {
        if (typeof state !== "string" || !FLAT_STATES.test(state) || !(flat instanceof PlacedTensor)) continue
        const { dtype, offset, shape, view } = flat.tensor
        if (view.strides || shape[0] !== length) return new NotRead(`${state} of its buffer ${chunk} is no flat tensor of ${length} elements`)
        for (const [i, parameter] of own.entries()) {
          const start = fit.starts[i]!
          const tensor = { dtype, shape: parameter.tensor.shape, offset: offset + start * bytesOf(dtype), length: volume(parameter.tensor.shape) * bytesOf(dtype), view: { ...view, elements: view.elements - start } }
          const wrong = put(states, parameter, state, new PlacedTensor(tensor))
          if (wrong) return wrong
        }
      }
    }
  }
  return states
}

/** The states of a rank's optimizer. `distributed`: what its file of flat states holds. Undefined: it has none. */
export const statesOfRank = (rank: Rank, distributed: RankValue | undefined): ReadonlyArray<ChunkStates> | NotRead | undefined => {
  if (distributed !== undefined) return flatStates(rank, distributed)
  const { optimizer } = rank.archive
  const numbered = optimizer === undefined || optimizer === null ? undefined : numberedStates(rank, optimizer)
  return numbered === undefined || numbered instanceof NotRead || numbered.some((chunk) => chunk.size > 0) ? numbered : undefined
}
