/**
 * DeepSeek V4: attention on compressed keys, hyper-connections, experts in every layer (the first ones routed by a table from
 * tokens to experts), multi-token prediction with residual streams of its own.
 */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import type { Row } from "../src/bridge/Mapping.ts"
import { gatedMlpOf } from "../src/bridge/kinds.ts"
import { rowsFromOf } from "../src/bridge/kinds/elementary.ts"
import { float, pythonName, type PythonValue } from "../src/runconfig/Provider.ts"
import type { Renaming } from "../src/bridge/Spelling.ts"
import { rows, type Table } from "../src/bridge/Registry.ts"
import { FormatError } from "../src/errors.ts"
import type { CompressedAttention } from "../src/model/compressedAttention.ts"
import { compressedGpt } from "../src/model/compressedGpt.ts"
import type { TransformerConfig } from "../src/model/TransformerConfig.ts"
import { count, many, positions, size } from "./shared/config.ts"
import { type ExpertLayout, expertLayout, routedExperts } from "./shared/experts.ts"
import { HYBRID_DISPATCH, LATENT_FUSIONS } from "./shared/fusions.ts"
import { commonOf, divided, transformerOf } from "./shared/llama.ts"
import { MLA } from "./shared/mla.ts"
import { expertsOf, GROUPED, moeFields, perLayer, sharedWidth } from "./shared/moe.ts"
import { defined, gptProvider } from "./shared/provider.ts"

const RATIOS: Readonly<Record<string, number>> = { sliding_attention: 0, compressed_sparse_attention: 4, heavily_compressed_attention: 128 }

/** Absent sizes have the defaults of the published config class. */
const schema = () => z.looseObject({
  ...moeFields,
  ...positions(1_048_576),
  moe_intermediate_size: size,
  head_dim: size.default(512),
  q_lora_rank: size.default(1024),
  qk_rope_head_dim: size.default(64),
  o_groups: size.default(8),
  o_lora_rank: size.default(1024),
  index_n_heads: size.default(64),
  index_head_dim: size.default(128),
  index_topk: size.default(512),
  hc_mult: size.default(4),
  hc_sinkhorn_iters: size.default(20),
  sliding_window: size.default(128),
  compress_rope_theta: z.number().positive().nullish(),
  scoring_func: z.string().nullish(),
  swiglu_limit: z.number().nullable().default(10),
  routed_scaling_factor: z.number().nullable().default(1.5),
  compress_ratios: z.array(count).max(100_000).nullish(),
  layer_types: z.array(z.enum(["sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"])).nullish(),
  compress_rates: z.record(z.string(), count).nullish(),
  num_hash_layers: many.nullish(),
  mlp_layer_types: z.array(z.enum(["hash_moe", "moe"])).nullish()
})
type Config = z.infer<ReturnType<typeof schema>>

const rotarySection = z.looseObject({
  rope_theta: z.number().positive().nullish(),
  factor: z.number().nullish(),
  original_max_position_embeddings: size.nullish(),
  beta_fast: z.number().nullish(),
  beta_slow: z.number().nullish()
})
const rotarySections = rotarySection.extend({ main: rotarySection.nullish(), compress: rotarySection.nullish() })

/** Compression of every decoder layer, then of every multi-token-prediction layer (a window, unless listed). */
const ratiosOf = (t: Config): ReadonlyArray<number> => {
  const [layers, modules] = [t.num_hidden_layers, t.num_nextn_predict_layers ?? 0]
  const listed = t.compress_ratios ?? t.layer_types?.map((kind) => t.compress_rates?.[kind] ?? RATIOS[kind]!)
  if (!listed) throw new FormatError("config/missing", "every layer needs its compression", { field: "compress_ratios" })
  const decoder = perLayer(listed, layers, "compress_ratios")
  return [...decoder, ...Array.from({ length: modules }, (_, k) => listed[layers + k] ?? 0)]
}

/**
 * Compressed layers have a rotary base of their own, and only they are stretched: by settings that newer files keep in a section
 * `compress` beside `main`, and older ones beside the base.
 */
const rotaryOf = (t: Config): Readonly<Record<string, PythonValue>> => {
  const stated = rotarySections.safeParse(t.rope_scaling ?? t.rope_parameters ?? {}).data ?? {}
  const main = stated.compress ? stated.main ?? {} : stated
  const compress = stated.compress ?? stated
  const base = main.rope_theta ?? t.rope_theta ?? 10000
  return defined({
    rotary_base: float(base),
    csa_compress_rotary_base: float(t.compress_rope_theta ?? compress.rope_theta ?? base),
    rotary_scaling_factor: float(compress.factor ?? 1),
    original_max_position_embeddings: compress.original_max_position_embeddings ?? t.max_position_embeddings ?? undefined,
    beta_fast: float(compress.beta_fast ?? 32),
    beta_slow: float(compress.beta_slow ?? 1),
    // Both alike: they cancel each other out.
    mscale: float(1),
    mscale_all_dim: float(1)
  })
}

/** Number of layers in front that route by a table. */
const hashLayers = (t: Config): number => {
  const kinds = t.mlp_layer_types
  if (!kinds || typeof t.num_hash_layers === "number") return t.num_hash_layers ?? 0
  const n = kinds.findIndex((kind) => kind !== "hash_moe")
  return n < 0 ? kinds.length : n
}

const attentionOf = (t: Config): CompressedAttention => {
  divided(t.num_attention_heads * t.head_dim, t.o_groups, "o_groups")
  return {
    hidden: t.hidden_size,
    heads: t.num_attention_heads,
    headDim: t.head_dim,
    queryRank: t.q_lora_rank,
    outputGroups: t.o_groups,
    outputRank: t.o_lora_rank,
    indexerHeads: t.index_n_heads,
    indexerHeadDim: t.index_head_dim
  }
}

const streamRows = (megatron: string, hf: string): Table => ({
  [`${megatron}.mapping_proj.weight`]: `${hf}_fn`,
  [`${megatron}.bias`]: `${hf}_base`,
  [`${megatron}.alpha_pre`]: rowsFromOf(0, 3, `${hf}_scale`),
  [`${megatron}.alpha_post`]: rowsFromOf(1, 3, `${hf}_scale`),
  [`${megatron}.alpha_res`]: rowsFromOf(2, 3, `${hf}_scale`)
})

const headRows: Table = { "hc_head_fn": "hc_head_fn", "hc_head_base": "hc_head_base", "hc_head_scale": "hc_head_scale" }

const compressorRows = (megatron: string, hf: string): Table => ({
  [`${megatron}ape`]: `${hf}ape`,
  [`${megatron}linear_wkv.weight`]: `${hf}wkv.weight`,
  [`${megatron}linear_wgate.weight`]: `${hf}wgate.weight`,
  [`${megatron}norm.weight`]: `${hf}norm.weight`
})

const core = "self_attention.core_attention."

/** `weights`: how the indexer's weighting is called; both names are in use. */
const layerRows = (weights: string, experts: Table): Table => ({
  "input_layernorm.weight": "attn_norm.weight",
  "pre_mlp_layernorm.weight": "ffn_norm.weight",
  "self_attention.linear_q_down_proj.weight": "attn.wq_a.weight",
  "self_attention.q_layernorm.weight": "attn.q_norm.weight",
  "self_attention.linear_q_up_proj.weight": "attn.wq_b.weight",
  "self_attention.linear_kv_proj.weight": "attn.wkv.weight",
  "self_attention.kv_layernorm.weight": "attn.kv_norm.weight",
  "self_attention.linear_o_group_proj": "attn.wo_a.weight",
  "self_attention.linear_proj.weight": "attn.wo_b.weight",
  [`${core}attn_sink`]: "attn.attn_sink",
  ...compressorRows(`${core}compressor.`, "attn.compressor."),
  [`${core}indexer.linear_wq_b.weight`]: "attn.indexer.wq_b.weight",
  [`${core}indexer.linear_weights_proj.weight`]: weights,
  ...compressorRows(`${core}indexer.compressor.`, "attn.indexer.compressor."),
  "mlp.router.weight": "ffn.gate.weight",
  "mlp.router.expert_bias": "ffn.gate.bias",
  "mlp.router.tid2eid": "ffn.gate.tid2eid",
  ...experts,
  "mlp.shared_experts.linear_fc1.weight": gatedMlpOf("ffn.shared_experts.{w1,w3}.weight"),
  "mlp.shared_experts.linear_fc2.weight": "ffn.shared_experts.w2.weight",
  ...streamRows("self_attention_hyper_connection", "hc_attn"),
  ...streamRows("mlp_hyper_connection", "hc_ffn")
})

interface LayoutFacts {
  readonly experts: ExpertLayout | undefined
  /** The indexer's weighting stands in a module of its own. */
  readonly scorer: boolean
}

const table = (tc: TransformerConfig, { experts, scorer }: LayoutFacts): ReadonlyArray<Row> => {
  const layer = layerRows(
    `attn.indexer.${scorer ? "scorer." : ""}weights_proj.weight`,
    routedExperts(tc, experts, { names: { module: "ffn.experts", up: "{w1,w3}", down: "w2" } })
  )
  return [
    ...rows("", "", {
      "embedding.word_embeddings.weight": "embed.weight",
      "output_layer.weight": "head.weight",
      "decoder.final_layernorm.weight": "norm.weight"
    }),
    ...rows("decoder.", "", headRows),
    ...rows("decoder.layers.*.", "layers.*.", layer),
    ...rows("mtp.layers.*.", "mtp.*.", {
      "enorm.weight": "enorm.weight",
      "hnorm.weight": "hnorm.weight",
      "e_proj.weight": "e_proj.weight",
      "h_proj.weight": "h_proj.weight",
      "final_layernorm.weight": "norm.weight",
      ...headRows
    }),
    ...rows("mtp.layers.*.mtp_model_layer.", "mtp.*.", layer)
  ]
}

/** The names of transformers 5, and those that it writes back for the published ones. */
const TRANSFORMERS: ReadonlyArray<Renaming> = [
  ["^layers.", "^model.layers."],
  ["^embed.", "^model.embed_tokens."],
  ["^norm.", "^model.norm."],
  ["^head.", "^lm_head."],
  ["^hc_head_", "^model.hc_head.hc_"],
  [".hc_attn_", ".attn_hc."],
  [".hc_ffn_", ".ffn_hc."],
  [".attn_norm.", ".input_layernorm."],
  [".ffn_norm.", ".post_attention_layernorm."],
  [".attn.", ".self_attn."],
  [".attn.indexer.wq_b.", ".attn.compressor.indexer.q_b_proj."],
  [".attn.indexer.weights_proj.", ".attn.compressor.indexer.scorer.weights_proj."],
  [".attn.indexer.compressor.", ".attn.compressor.indexer."],
  [".compressor.norm.", ".compressor.kv_norm."],
  [".compressor.wgate.", ".compressor.gate_proj."],
  [".ape", ".position_bias"],
  [".wkv.", ".kv_proj."],
  [".attn.kv_norm.", ".attn.norm."],
  [".attn.attn_sink", ".attn.sinks"],
  [".attn.q_norm.", ".attn.q_a_norm."],
  [".attn.wq_a.", ".attn.q_a_proj."],
  [".attn.wq_b.", ".attn.q_b_proj."],
  [".attn.wo_a.", ".attn.o_a_proj."],
  [".attn.wo_b.", ".attn.o_b_proj."],
  [".ffn.", ".mlp."],
  [".ffn.gate.bias", ".ffn.gate.e_score_correction_bias"],
  [".shared_experts.w1.", ".shared_experts.gate_proj."],
  [".shared_experts.w2.", ".shared_experts.down_proj."],
  [".shared_experts.w3.", ".shared_experts.up_proj."]
]

export const deepseekV4 = family({
  name: "deepseek-v4",
  architectures: ["DeepseekV4ForCausalLM"],
  config: schema,
  spellings: TRANSFORMERS,
  layout: (_, headers): LayoutFacts => ({ experts: expertLayout(headers, ""), scorer: headers.names.some((name) => name.includes(".indexer.scorer.weights_proj.")) }),
  describe: (t, layout) => {
    const ratios = ratiosOf(t)
    const tied = t.tie_word_embeddings ?? false
    const tc = transformerOf(t, {
      multi_latent_attention: true,
      qk_layernorm: true,
      experimental_attention_variant: "dsv4_hybrid",
      num_query_groups: t.num_key_value_heads ?? 1,
      ffn_hidden_size: t.intermediate_size ?? t.moe_intermediate_size,
      q_lora_rank: t.q_lora_rank,
      qk_pos_emb_head_dim: t.qk_rope_head_dim,
      v_head_dim: t.head_dim,
      dsa_indexer_n_heads: t.index_n_heads,
      dsa_indexer_head_dim: t.index_head_dim,
      share_embeddings_and_output_weights: tied,
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok ?? 6,
      moe_ffn_hidden_size: t.moe_intermediate_size,
      moe_shared_expert_intermediate_size: sharedWidth(t),
      moe_router_enable_expert_bias: true,
      mtp_num_layers: t.num_nextn_predict_layers ?? 0
    })
    return {
      modules: [{
        kind: "language",
        path: "",
        config: tc,
        build: (s) => compressedGpt(s, { c: tc, attention: attentionOf(t), ratios, streams: t.hc_mult, tables: { layers: hashLayers(t), experts: t.num_experts_per_tok ?? 6 } })
      }],
      rows: table(tc, layout),
      provider: gptProvider(MLA, tc, commonOf(t), {
        ...GROUPED,
        ...LATENT_FUSIONS,
        ...HYBRID_DISPATCH,
        bias_activation_fusion: false,
        apply_rope_fusion: true,
        ...rotaryOf(t),
        hidden_dropout: float(0),
        attention_dropout: float(t.attention_dropout ?? 0),
        rotary_percent: float(1),
        csa_compress_ratios: ratios,
        csa_window_size: t.sliding_window,
        dsa_indexer_topk: t.index_topk,
        o_groups: t.o_groups,
        o_lora_rank: t.o_lora_rank,
        enable_hyper_connections: true,
        num_residual_streams: t.hc_mult,
        mhc_sinkhorn_iterations: t.hc_sinkhorn_iters,
        transformer_layer_spec: pythonName("megatron.core.models.gpt.experimental_attention_variant_module_specs.get_transformer_block_with_experimental_attention_variant_spec"),
        moe_layer_freq: Array.from({ length: tc.num_layers }, () => 1),
        moe_router_load_balancing_type: "noaux_tc",
        moe_n_hash_layers: hashLayers(t),
        moe_router_score_function: t.scoring_func ?? "sqrtsoftplus",
        moe_router_topk_scaling_factor: t.routed_scaling_factor ?? undefined,
        moe_router_pre_softmax: false,
        moe_router_dtype: "fp32",
        moe_shared_expert_overlap: true,
        moe_aux_loss_coeff: float(0),
        activation_func_clamp_value: typeof t.swiglu_limit === "number" ? float(t.swiglu_limit) : undefined,
        make_vocab_size_divisible_by: 1280,
        seq_length: 4096
      }),
      vocabulary: { embedding: "embed.weight", head: "head.weight", tied },
      mtpFields: ["num_nextn_predict_layers"]
    }
  }
})
