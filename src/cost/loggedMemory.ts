/**
 * The memory that the trainers print before they start: their two estimators, by the fields of a configuration, for the most loaded
 * rank of a standard model. Our own count is in memory.ts; these are here so that a printed number can be explained.
 *
 * **Gotchas** (what they get wrong, none of it repeated in memory.ts)
 *
 * - Every kind of attention counts as grouped queries (one of them knows latent attention); gates and linear attention do not count.
 * - Activations are those of the first stage under sequence parallelism and selective recomputation; the logits are left out where
 *   there is a pipeline. One ignores context parallelism.
 * - One counts all experts of multi-token prediction as active.
 * - Encoders, communication buffers, dispatch buffers and uneven loads of experts are left out; of a MegatronMIMO model nothing is
 *   printed at all.
 *
 * Sources: Megatron-LM `training/theoretical_memory_usage.py`, Megatron-Bridge `training/utils/theoretical_memory_utils.py`.
 */
import { paddedRows } from "./loggedFlops.ts"
import type { Fields } from "./window.ts"

/** A layout of a standard model. */
export interface StandardShape {
  readonly tp: number
  readonly pp: number
  readonly dp: number
  readonly cp?: number
  readonly ep?: number
  readonly etp?: number
  /** Virtual pipeline stages per rank. */
  readonly vp?: number
  readonly microBatch: number
  readonly microBatches: number
  readonly sequenceLength: number
  readonly distributedOptimizer: boolean
}

const number = (c: Fields, field: string, otherwise = 0): number => {
  const value = c[field]
  return typeof value === "number" ? value : otherwise
}

interface Layers {
  readonly dense: number
  readonly moe: number
  readonly predictedDense: number
  readonly predictedMoe: number
}

const layersOf = (c: Fields): Layers => {
  const layers = number(c, "num_layers")
  const freq = c["moe_layer_freq"]
  const pattern = number(c, "num_moe_experts") === 0 ? [] : Array.isArray(freq) ? freq as ReadonlyArray<number>
    : Array.from({ length: layers }, (_, i) => (i % number(c, "moe_layer_freq", 1) === 0 ? 1 : 0))
  const moe = pattern.reduce((sum, n) => sum + n, 0)
  const predicted = number(c, "mtp_num_layers")
  const last = pattern.at(-1) === 1
  return { dense: layers - moe, moe, predictedDense: last ? 0 : predicted, predictedMoe: last ? predicted : 0 }
}

interface Sizes {
  readonly h: number
  readonly attention: number
  readonly denseMlp: number
  readonly experts: number
  readonly sharedExpert: number
  readonly vocabulary: number
  readonly tied: boolean
}

const sizesOf = (c: Fields, tp: number, matrices: number): Sizes => {
  const h = number(c, "hidden_size")
  const heads = number(c, "num_attention_heads")
  const query = heads * number(c, "kv_channels", h / heads)
  const groups = number(c, "num_query_groups", heads)
  return {
    h,
    attention: 2 * h * query * (1 + groups / heads),
    denseMlp: matrices * h * number(c, "ffn_hidden_size"),
    experts: matrices * h * number(c, "moe_ffn_hidden_size") * number(c, "num_moe_experts"),
    sharedExpert: matrices * h * number(c, "moe_shared_expert_intermediate_size"),
    vocabulary: h * paddedRows(number(c, "vocab_size"), number(c, "make_vocab_size_divisible_by", 128), tp),
    tied: c["share_embeddings_and_output_weights"] === true
  }
}

const latentAttention = (c: Fields): number => {
  const [h, heads, rank, queryRank] = [number(c, "hidden_size"), number(c, "num_attention_heads"), number(c, "kv_lora_rank"), number(c, "q_lora_rank")]
  const [nope, rope, value] = [number(c, "qk_head_dim"), number(c, "qk_pos_emb_head_dim"), number(c, "v_head_dim")]
  const query = queryRank > 0 ? queryRank * (h + heads * (nope + rope) + 1) : h * heads * (nope + rope)
  return query + rank * (h + heads * (nope + value) + 1) + h * rope + heads * value * h
}

const bytesPerParameter = (distributed: boolean, ranks: number): number => (distributed ? 6 + 12 / ranks : 18)

/** Microbatches in flight on the first stage, as a share of the pipeline's depth. */
const inFlight = ({ microBatches, pp, vp }: StandardShape): number =>
  vp !== undefined ? 1 + (pp - 1) / (pp * vp) : pp > 1 ? Math.min(1, microBatches / pp) : 1

export interface MegatronLmMemory {
  /** Weights, gradients and optimizer states. */
  readonly states: number
  /** With sequence parallelism and selective recomputation. */
  readonly activations: number
  /** Without sequence parallelism. */
  readonly activationsUnsharded: number
}

/** What Megatron-LM prints, in bytes. Norms are taken to be RMSNorm. */
export const megatronLmMemory = (c: Fields, shape: StandardShape): MegatronLmMemory => {
  const { distributedOptimizer, dp, ep = 1, etp = 1, pp, tp } = shape
  const { h, vocabulary, ...sizes } = sizesOf(c, tp, c["gated_linear_unit"] === true ? 3 : 2)
  const attention = c["multi_latent_attention"] === true ? latentAttention(c) : sizes.attention
  const layers = layersOf(c)
  const block = ([dense, moe]: readonly [number, number]) => ({
    sharded: (attention + sizes.denseMlp) * dense + (attention + sizes.sharedExpert) * moe,
    replicated: 2 * h * dense + (2 * h + h * number(c, "num_moe_experts")) * moe,
    experts: sizes.experts * moe
  })
  const [body, predicted] = [block([layers.dense, layers.moe]), block([layers.predictedDense, layers.predictedMoe])]
  const sharded = (body.sharded / pp + predicted.sharded + vocabulary * (!sizes.tied && pp === 1 ? 2 : 1)) / tp
  const replicated = (body.replicated + h) / pp + predicted.replicated
  const experts = (body.experts / pp + predicted.experts) / (etp * ep)
  const expertCopies = Math.floor((tp * pp * dp * (shape.cp ?? 1)) / (etp * ep * pp))
  const states = (sharded + replicated) * bytesPerParameter(distributedOptimizer, dp) + experts * bytesPerParameter(distributedOptimizer, expertCopies)

  const { microBatch: b, sequenceLength: s } = shape
  const depth = number(c, "num_layers")
  const ffn = number(c, "ffn_hidden_size")
  const embedding = 8 * s * b * pp + s * b * h * pp
  const rows = vocabulary / h
  const withSequenceParallel = (s * b * h * (18 + (4 * ffn) / h) * depth + embedding) * inFlight(shape) + (pp === 1 ? 4 * s * b * h * (1 + rows / h) : 0)
  const without = (s * b * h * (10 + 24 / tp) * depth + embedding) * inFlight(shape) + (pp === 1 ? ((s * b * rows) / tp + s * b * h) * 2 : 0)
  return { states, activations: withSequenceParallel / tp, activationsUnsharded: without * 1.05 }
}

export interface BridgeMemory {
  readonly parameters: number
  readonly densePerRank: number
  readonly denseBytesPerParameter: number
  readonly expertsPerRank: number
  readonly expertBytesPerParameter: number
  /** Weights, gradients and optimizer states. */
  readonly states: number
  readonly activations: number
}

/** What Megatron-Bridge prints, in bytes and elements. */
export const bridgeMemory = (c: Fields, shape: StandardShape): BridgeMemory => {
  const { cp = 1, distributedOptimizer, dp, ep = 1, etp = 1, pp, tp } = shape
  const { attention, denseMlp, experts, h, sharedExpert, tied, vocabulary } = sizesOf(c, tp, c["gated_linear_unit"] === true ? 3 : 2)
  const { dense, moe, predictedDense, predictedMoe } = layersOf(c)
  const [denseLayers, moeLayers] = [dense + predictedDense, moe + predictedMoe]
  const transformer = (attention + denseMlp + 4 * h) * denseLayers + (attention + sharedExpert + 4 * h) * moeLayers + 2 * h
  const routed = experts * moeLayers
  const densePerRank = transformer / (pp * tp) + (vocabulary * (!tied && pp === 1 ? 2 : 1)) / tp
  const expertsPerRank = routed / (pp * ep * etp)
  const denseBytesPerParameter = bytesPerParameter(distributedOptimizer, dp * cp)
  const expertBytesPerParameter = bytesPerParameter(distributedOptimizer, Math.max(1, Math.floor((tp * cp * dp) / (ep * etp))))

  const { microBatch: b, sequenceLength: s } = shape
  const depth = denseLayers + moeLayers
  const moeFfn = number(c, "moe_router_topk") * number(c, "moe_ffn_hidden_size") + number(c, "moe_shared_expert_intermediate_size")
  const ffn = (number(c, "ffn_hidden_size") * denseLayers + moeFfn * moeLayers) / depth
  const activations = (s * b * h * (18 + (4 * ffn) / h) * depth + 8 * s * b * pp + s * b * h * pp) * inFlight(shape) + (pp === 1 ? 4 * s * b * h * (1 + vocabulary / h / h) : 0)
  return {
    parameters: transformer + routed + vocabulary * (tied ? 1 : 2),
    densePerRank,
    denseBytesPerParameter,
    expertsPerRank,
    expertBytesPerParameter,
    states: densePerRank * denseBytesPerParameter + expertsPerRank * expertBytesPerParameter,
    activations: activations / (tp * cp)
  }
}
