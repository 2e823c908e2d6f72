/**
 * MiniMax-M3: a sparse MoE language model with images. Some layers have an indexer that chooses which blocks to attend to; the
 * trainer keeps its weights beside the language model. Router and patch embedding stay in fp32.
 */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/bridge/Provider.ts"
import { rows } from "../src/bridge/Registry.ts"
import { keepIn } from "../src/model/keep.ts"
import { plainLayer, plainWeight } from "../src/model/plain.ts"
import { Scope } from "../src/model/Scope.ts"
import { attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { count, many, size } from "./shared/config.ts"
import { blockSparseExperts } from "./shared/experts.ts"
import { hfConfig, section } from "./shared/hfConfig.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { expertsOf, moeFields, perLayer, router, sharedExperts } from "./shared/moe.ts"
import { languageAnd, mirrored, multimodalModel } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { PAIR_VISION, pairLayers, pairVisionFields } from "./shared/towers/pairVision.ts"

const flags = z.array(z.union([z.literal(0), z.literal(1)])).max(100_000)
const compression = z.looseObject({ spatial_merge_size: size.nullish(), temporal_patch_size: size.nullish() })

/** Newer configs name each layer's kind, older ones flag it. */
const text = z.looseObject({
  ...moeFields,
  intermediate_size: size,
  num_experts_per_tok: size,
  dense_intermediate_size: size.nullish(),
  shared_intermediate_size: many.nullish(),
  moe_layer_freq: flags.nullish(),
  layer_types: z.array(z.string()).nullish(),
  sparse_attention_config: z.looseObject({
    sparse_attention_freq: flags.nullish(),
    sparse_num_index_heads: size.nullish(),
    sparse_index_dim: size.nullish()
  }).nullish(),
  index_n_heads: size.nullish(),
  index_head_dim: size.nullish(),
  rotary_dim: size.nullish(),
  use_gemma_norm: z.boolean().nullish(),
  use_qk_norm: z.boolean().nullish(),
  swiglu_limit: z.number().nullish()
})

const moeLayers = (t: z.infer<typeof text>): ReadonlyArray<number> | undefined =>
  t.moe_layer_freq
    ? perLayer(t.moe_layer_freq, t.num_hidden_layers, "moe_layer_freq")
    : t.mlp_layer_types
    ? perLayer(t.mlp_layer_types, t.num_hidden_layers, "mlp_layer_types").map((kind) => (kind === "sparse" ? 1 : 0))
    : undefined

const indexed = (t: z.infer<typeof text>) => {
  const kinds = t.layer_types?.map((kind) => kind === "minimax_m3_sparse") ?? t.sparse_attention_config?.sparse_attention_freq?.map((flag) => flag === 1) ?? []
  return {
    layers: kinds.flatMap((sparse, i) => (sparse && i < t.num_hidden_layers ? [i] : [])),
    heads: t.index_n_heads ?? t.sparse_attention_config?.sparse_num_index_heads ?? 4,
    width: t.index_head_dim ?? t.sparse_attention_config?.sparse_index_dim ?? 128
  }
}

const NAMES = { megatron: "language_model.", model: "language_model.model.", head: "language_model." }

export const minimaxM3 = family({
  name: "minimax-m3",
  architectures: ["MiniMaxM3SparseForConditionalGeneration"],
  config: z.looseObject({
    text_config: text,
    vision_config: z.looseObject({
      ...pairVisionFields,
      image_size: size.nullish(),
      spatial_merge_size: size.nullish(),
      temporal_patch_size: size.nullish(),
      img_token_compression_config: compression.nullish()
    }),
    img_token_compression_config: compression.nullish(),
    image_token_index: count.nullish(),
    image_token_id: count.nullish(),
    video_token_index: count.nullish(),
    video_token_id: count.nullish(),
    projector_hidden_size: size.nullish(),
    multimodal_projector_bias: z.boolean().default(true),
    tie_word_embeddings: z.boolean().nullish()
  }),
  describe: (c) => {
    const { text_config: t, vision_config: v } = c
    const legacy = c.img_token_compression_config ?? v.img_token_compression_config
    const merge = v.spatial_merge_size ?? legacy?.spatial_merge_size ?? 2
    const time = v.temporal_patch_size ?? legacy?.temporal_patch_size ?? 2
    const projector = c.projector_hidden_size ?? t.hidden_size
    const shared = (t.n_shared_experts ?? 1) * (t.shared_intermediate_size ?? 0)
    const freq = moeLayers(t)
    const indexer = indexed(t)
    const tc = transformerOf(t, {
      ffn_hidden_size: t.dense_intermediate_size ?? t.intermediate_size,
      qk_layernorm: t.use_qk_norm ?? true,
      share_embeddings_and_output_weights: c.tie_word_embeddings ?? t.tie_word_embeddings ?? false,
      num_moe_experts: expertsOf(t),
      ...(freq ? { moe_layer_freq: freq } : {}),
      moe_ffn_hidden_size: t.intermediate_size,
      moe_shared_expert_intermediate_size: shared || null,
      moe_router_enable_expert_bias: true
    })
    const described = multimodalModel({
      tc,
      names: NAMES,
      table: {
        ...attention,
        ...qkNorm,
        ...denseMlp,
        ...router("block_sparse_moe.gate.weight", "block_sparse_moe.e_score_correction_bias"),
        ...sharedExperts("block_sparse_moe.shared_experts."),
        ...blockSparseExperts
      },
      towers: (root) => {
        const tower = root.at("vision_tower.vision_model")
        plainWeight(tower, "embeddings.patch_embedding", [v.hidden_size, v.num_channels, time, v.patch_size, v.patch_size])
        plainLayer(tower, "pre_layrnorm", [v.hidden_size])
        pairLayers(tower, v, ["q", "k", "v"])
        for (const [name, input] of [["multi_modal_projector", v.hidden_size], ["patch_merge_mlp", t.hidden_size * merge ** 2]] as const) {
          plainLayer(root.at(name), "linear_1", [projector, input], c.multimodal_projector_bias)
          plainLayer(root.at(name), "linear_2", [t.hidden_size, projector], c.multimodal_projector_bias)
        }
      },
      rows: [
        ...["vision_tower.", "multi_modal_projector.", "patch_merge_mlp."].flatMap((prefix) => mirrored(prefix, prefix)),
        ...rows("lightning_indexers.*.", `${NAMES.model}layers.*.self_attn.`, {
          "q_proj.weight": "index_q_proj.weight",
          "k_proj.weight": "index_k_proj.weight",
          "q_norm.weight": "index_q_norm.weight",
          "k_norm.weight": "index_k_norm.weight"
        })
      ],
      provider: gptProvider(
        "megatron.bridge.models.minimax_m3.minimax_m3_bridge.MiniMaxM3VLModelProvider",
        tc,
        { ...commonOf({ ...t, hidden_act: "silu" }), dtype: "bfloat16", activation: "megatron.core.fusions.fused_bias_geglu.quick_gelu", seq_length: 4096 },
        {
          ...extraOf(t),
          ...(t.rotary_dim ? { rotary_percent: float(t.rotary_dim / tc.kv_channels) } : {}),
          layernorm_zero_centered_gamma: t.use_gemma_norm ?? true,
          activation_func_clamp_value: float(t.swiglu_limit ?? 7),
          glu_linear_offset: float(1),
          transformer_layer_spec: {
            _args_: [],
            _partial_: true,
            _target_: "megatron.bridge.models.minimax_m3.minimax_m3_bridge.minimax_m3_block_spec",
            use_transformer_engine: true
          },
          moe_grouped_gemm: true,
          moe_permute_fusion: true,
          moe_token_dispatcher_type: "flex",
          moe_flex_dispatcher_backend: "hybridep",
          moe_flex_dispatcher_num_sms: 16,
          moe_router_topk: t.num_experts_per_tok,
          moe_router_score_function: "sigmoid",
          moe_router_dtype: "fp32",
          moe_router_topk_scaling_factor: float(t.routed_scaling_factor ?? 1),
          moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001),
          persist_layer_norm: true,
          bias_dropout_fusion: true,
          image_token_id: c.image_token_id ?? c.image_token_index ?? undefined,
          video_token_id: c.video_token_id ?? c.video_token_index ?? undefined,
          projector_hidden_size: projector,
          multimodal_projector_bias: c.multimodal_projector_bias,
          spatial_merge_size: merge,
          temporal_patch_size: time,
          lightning_indexer_layers: indexer.layers,
          index_n_heads: indexer.heads,
          index_head_dim: indexer.width,
          vision_config: hfConfig("minimax_m3_vl.configuration_minimax_m3_vl.MiniMaxM3VLVisionConfig", {
            ...section(v, PAIR_VISION.filter((field) => field !== "model_type")),
            spatial_merge_size: merge,
            temporal_patch_size: time
          })
        }
      ),
      components: languageAnd({ name: "images", sourcePrefix: "vision_tower.", encoder: "minimax_visual", projectors: ["multi_modal_projector.", "patch_merge_mlp."] })
        .map((component) => component.name === "language"
          ? { ...component, also: [{ sourcePrefix: "lightning_indexers.", targetModulePath: "language_model.lightning_indexers" }] }
          : component)
    })
    const indexers = Scope.collect((root) => {
      for (const i of indexer.layers) {
        const s = root.at(`lightning_indexers.${i}`).on({ layer: i, of: t.num_hidden_layers })
        plainWeight(s, "q_proj", [indexer.heads * indexer.width, t.hidden_size])
        plainWeight(s, "k_proj", [indexer.width, t.hidden_size])
        plainWeight(s, "q_norm", [indexer.width])
        plainWeight(s, "k_norm", [indexer.width])
      }
    })
    return { ...described, model: keepIn([...described.model, ...indexers], "F32", /\.mlp\.router\.weight$|\.patch_embedding\.weight$/) }
  }
})
