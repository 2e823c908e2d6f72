/**
 * The FLOPs that the trainer logs: its own conventions, from the fields of its configuration. Unit: floating-point operations of
 * one optimizer step, multiplications and additions counted apart, three times the forward pass. Recomputation, the optimizer,
 * norms, softmax and lookups do not count; nor do routers, gates of shared experts and patch embeddings; freezing changes nothing.
 *
 * Source: Megatron-Bridge, `training/utils/flop_utils.py`; vectors in tests/cost.
 */
import { meanContext, type Workload } from "./Workload.ts"
import { causalContext, type Fields, isWindowed, windowOf } from "./window.ts"

export type LoggedKind = "attention" | "linear attention" | "mamba" | "mlp" | "experts" | "multi-token prediction" | "vocabulary" | "vision tower"

/** Operations of one step by what does them. */
export type LoggedFlops = ReadonlyMap<LoggedKind, number>

export const sumOf = (flops: ReadonlyMap<unknown, number>): number => [...flops.values()].reduce((sum, n) => sum + n, 0)

const number = (c: Fields, field: string, otherwise = 0): number => {
  const value = c[field]
  return typeof value === "number" ? value : otherwise
}

const flag = (c: Fields, field: string): boolean => c[field] === true

/** Rows of the vocabulary matrices after padding to `make_vocab_size_divisible_by` × tp; the trainer's count pads always. */
export const paddedRows = (vocabulary: number, divisibleBy: number, tp: number): number => Math.ceil(vocabulary / (divisibleBy * tp)) * divisibleBy * tp

/** 1 where layer `i` (from 0) is MoE. */
const moePattern = (c: Fields, layers: number): ReadonlyArray<number> => {
  if (!number(c, "num_moe_experts")) return new Array<number>(layers).fill(0)
  const freq = c["moe_layer_freq"]
  if (Array.isArray(freq)) return freq as ReadonlyArray<number>
  const every = typeof freq === "number" ? freq : 1
  return Array.from({ length: layers }, (_, i) => (i % every === 0 ? 1 : 0))
}

/** 1 where layer `i` (from 0) is linear attention. */
const linearPattern = (c: Fields, layers: number): ReadonlyArray<number> => {
  const freq = c["linear_attention_freq"]
  if (Array.isArray(freq)) return freq as ReadonlyArray<number>
  return Array.from({ length: layers }, (_, i) => (typeof freq === "number" && (i + 1) % freq !== 0 ? 1 : 0))
}

const count = (pattern: ReadonlyArray<number>): number => pattern.reduce((sum, n) => sum + n, 0)

interface Widths {
  readonly h: number
  readonly heads: number
  readonly groups: number
  readonly query: number
  readonly key: number
  /** Matrices of an MLP: three where gated. */
  readonly matrices: number
}

const widthsOf = (c: Fields): Widths => {
  const h = number(c, "hidden_size")
  const heads = number(c, "num_attention_heads")
  const groups = number(c, "num_query_groups", heads)
  const channels = number(c, "kv_channels", h / heads)
  return { h, heads, groups, query: heads * channels, key: groups * channels, matrices: flag(c, "gated_linear_unit") ? 3 : 2 }
}

/** Per token: half of the operations of a forward pass, i.e. multiply-adds. */
const latentAttention = (c: Fields, { h, heads }: Widths, context: number): number => {
  const [rank, nope, rope, value] = [number(c, "kv_lora_rank"), number(c, "qk_head_dim"), number(c, "qk_pos_emb_head_dim"), number(c, "v_head_dim")]
  const queryRank = number(c, "q_lora_rank")
  const query = queryRank > 0 ? queryRank * (h + heads * (nope + rope) + 1) : h * heads * (nope + rope)
  return query + rank * (h + heads * (nope + value) + 1) + h * rope + heads * value * h + (context * heads * (nope + rope)) / 2 + (context * heads * value) / 2
}

const gatedDelta = (c: Fields, h: number): number => {
  const [valueHeads, valueDim, kernel] = [number(c, "linear_num_value_heads"), number(c, "linear_value_head_dim"), number(c, "linear_conv_kernel_dim")]
  const key = number(c, "linear_key_head_dim") * number(c, "linear_num_key_heads")
  const value = valueDim * valueHeads
  return h * (2 * key + 2 * value + 2 * valueHeads) + kernel * (2 * key + value) + 4 * valueHeads * valueDim ** 2 + h * value
}

const fullAttention = (c: Fields, { h, key, query }: Widths, context: number): number =>
  h * (query + 2 * key + (flag(c, "attention_output_gate") ? query : 0)) + query * h + 2 * query * context

const moeLayer = (c: Fields, { h, matrices }: Widths): number => {
  const ffn = number(c, "moe_ffn_hidden_size", number(c, "ffn_hidden_size"))
  const shared = number(c, "moe_shared_expert_intermediate_size")
  const latent = number(c, "moe_latent_size")
  const routed = matrices * ffn * number(c, "moe_router_topk", 1)
  return latent > 0 ? routed * latent + 2 * latent * h + h * matrices * shared : h * (routed + matrices * shared)
}

const hasGatedDelta = (c: Fields): boolean => ["gdn", "gated_delta_net", "gdn2"].includes(String(c["experimental_attention_variant"]))

/** Models whose layers are attention and an MLP each. */
const transformerFlops = (c: Fields, w: Workload, rows: number): LoggedFlops => {
  const widths = widthsOf(c)
  const { h, matrices } = widths
  const layers = number(c, "num_layers")
  const predicted = number(c, "mtp_num_layers")
  const moe = moePattern(c, layers)
  const linear = hasGatedDelta(c) ? linearPattern(c, layers) : new Array<number>(layers).fill(0)
  const length = meanContext(w)
  const attentionOf = (layer: number): number =>
    flag(c, "multi_latent_attention") ? latentAttention(c, widths, length)
      : fullAttention(c, widths, causalContext(length, isWindowed(c, layer) ? windowOf(c) : undefined))
  const dense = h * matrices * number(c, "ffn_hidden_size")
  const [linearLayers, moeLayers] = [count(linear), count(moe)]
  // A layer of multi-token prediction is like the model's last.
  const attention = linear.reduce((sum, isLinear, i) => sum + (isLinear ? 0 : attentionOf(i + 1)), 0)
  const mtpLayer = (linear.at(-1) === 1 ? gatedDelta(c, h) : attentionOf(layers)) + (moe.at(-1) === 1 ? moeLayer(c, widths) : dense)
  const scale = 6 * w.tokens
  return new Map<LoggedKind, number>([
    ["attention", scale * attention],
    ["linear attention", linearLayers === 0 ? 0 : scale * linearLayers * gatedDelta(c, h)],
    ["mlp", scale * (layers - moeLayers) * dense],
    ["experts", moeLayers === 0 ? 0 : scale * moeLayers * moeLayer(c, widths)],
    ["multi-token prediction", scale * predicted * (mtpLayer + 3 * h + 2 * h * h + h * rows)],
    ["vocabulary", scale * h * rows]
  ])
}

/** Hybrid models: a letter per layer, as the trainer counts them (twice the hidden width inside of Mamba, no gates of attention). */
const hybridFlops = (c: Fields, w: Workload, rows: number): LoggedFlops => {
  const { groups, h, heads, matrices, query } = widthsOf(c)
  const [pattern = "", ...mtpPatterns] = String(c["hybrid_layer_pattern"]).split("/")
  const all = pattern.replaceAll("|", "")
  const letters = (letter: string): number => [...all].filter((l) => l === letter).length
  const length = meanContext(w)
  const [state, stateGroups, mambaHeads] = [number(c, "mamba_state_dim", 128), number(c, "mamba_num_groups", 8), number(c, "mamba_num_heads", 128)]
  const inner = 2 * h
  const share = query / h
  const attention = 4 * h * share * (h + (h * groups) / heads) + 2 * h * share * length
  const mlp = 2 * matrices * number(c, "ffn_hidden_size") * h
  const mamba = 2 * h * (2 * inner + 2 * stateGroups * state + mambaHeads) + 7 * inner * state + 2 * inner * h
  const scale = 3 * w.tokens
  const predicted = number(c, "mtp_num_layers", mtpPatterns.length)
  return new Map<LoggedKind, number>([
    ["attention", scale * letters("*") * attention],
    ["linear attention", letters("G") === 0 ? 0 : scale * letters("G") * 2 * gatedDelta(c, h)],
    ["mamba", scale * letters("M") * mamba],
    ["mlp", scale * letters("-") * mlp],
    ["experts", letters("E") === 0 ? 0 : scale * letters("E") * 2 * moeLayer(c, widthsOf(c))],
    ["multi-token prediction", scale * 2 * h * rows * predicted],
    ["vocabulary", scale * 2 * h * rows]
  ])
}

export interface LoggedOptions {
  /** The trainer pads the vocabulary to a multiple of it; F2c of the vectors. */
  readonly tp?: number
}

/**
 * What the trainer logs for the text of a step.
 *
 * @param c fields of the provider, by Megatron's names
 */
export const loggedTextFlops = (c: Fields, w: Workload, { tp = 1 }: LoggedOptions = {}): LoggedFlops => {
  const rows = paddedRows(number(c, "vocab_size"), number(c, "make_vocab_size_divisible_by", 128), tp)
  return typeof c["hybrid_layer_pattern"] === "string" ? hybridFlops(c, w, rows) : transformerFlops(c, w, rows)
}

export interface LoggedVision {
  readonly depth: number
  readonly hidden_size: number
  readonly intermediate_size: number
  readonly spatial_merge_size: number
  readonly out_hidden_size: number
  /** Inner layers with a merger of their own. */
  readonly deepstack: number
}

/** What the trainer logs for the images of a step: plain MLPs and full attention, whatever the tower has. */
export const loggedVisionFlops = ({ deepstack, depth, hidden_size: a, intermediate_size: i, out_hidden_size: out, spatial_merge_size: m }: LoggedVision, w: Workload): number => {
  const merged = a * m * m
  return 3 * (depth * ((8 * a * a + 4 * a * i) * w.patches + 4 * a * w.patchSquares) + (1 + deepstack) * w.merged * (2 * merged * merged + 2 * merged * out))
}
