/** MiniMax-M3: a sparse MoE language model with images. Its router and the patch embedding stay in fp32. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float, type PythonValue } from "../src/runconfig/Provider.ts"
import { gpt } from "../src/model/gpt.ts"
import { plainLayer } from "../src/model/plain.ts"
import { NO_PREDICTION } from "./shared/appendedMtp.ts"
import { attention, denseMlp, fusedGateUp, qkNorm } from "./shared/blocks.ts"
import { count, size } from "./shared/config.ts"
import { BLOCK_SPARSE, expertLayout, routedExperts } from "./shared/experts.ts"
import { HYBRID_DISPATCH } from "./shared/fusions.ts"
import { hfConfig, whole, wholeVision } from "./shared/hfConfig.ts"
import { indexedFields, indexedToday, indexerModule, indexerRows, indexersOf, moeFlags } from "./shared/indexedText.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { expertsOf, router, sharedExperts } from "./shared/moe.ts"
import { languageAnd, mirrored, multimodalModel, tiedOf } from "./shared/multimodal.ts"
import { plainProjector } from "./shared/projectors.ts"
import { defined, gptProvider } from "./shared/provider.ts"
import { pairLayers, pairSizes, pairVisionFields } from "./shared/towers/pairVision.ts"

const text = z.looseObject({
  ...indexedFields,
  num_key_value_heads: size.nullable().default(4),
  head_dim: size.nullable().default(128),
  rope_theta: z.number().nullable().default(5e6),
  rotary_dim: size.default(64),
  routed_scaling_factor: z.number().nullable().default(2),
  use_gemma_norm: z.boolean().nullish(),
  use_qk_norm: z.boolean().nullish(),
  swiglu_limit: z.number().default(7)
})

const merging = { spatial_merge_size: size.nullish(), temporal_patch_size: size.nullish() }
/** Older configs keep the sizes of a patch apart. */
const compression = z.looseObject(merging).nullish()

const NAMES = { megatron: "language_model.", model: "language_model.model.", head: "language_model." }
const MODULES = "megatron.bridge.models.minimax_m3.minimax_m3_bridge."

/** Fields that are the same for every model of the family. */
const FIXED: Readonly<Record<string, PythonValue>> = {
  glu_linear_offset: float(1),
  transformer_layer_spec: { _args_: [], _partial_: true, _target_: `${MODULES}minimax_m3_block_spec`, use_transformer_engine: true },
  moe_grouped_gemm: true,
  moe_permute_fusion: true,
  ...HYBRID_DISPATCH,
  moe_router_score_function: "sigmoid",
  moe_router_dtype: "fp32",
  persist_layer_norm: true,
  bias_dropout_fusion: true
}

/** What `layer_types` calls a layer with an indexer. */
const INDEXED = "minimax_m3_sparse"

const PROVIDER = `${MODULES}MiniMaxM3VLModelProvider`
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_tower.", encoder: "minimax_visual", projectors: ["multi_modal_projector.", "patch_merge_mlp."] })
  .map((part) => part.name === "language"
    ? { ...part, also: [{ sourcePrefix: "lightning_indexers.", targetModulePath: "language_model.lightning_indexers" }] }
    : part)

export const minimaxM3 = family({
  name: "minimax-m3",
  architectures: ["MiniMaxM3SparseForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: () => z.looseObject({
    text_config: text,
    vision_config: z.looseObject({ ...pairVisionFields, image_size: size.nullish(), ...merging, img_token_compression_config: compression }),
    img_token_compression_config: compression,
    image_token_index: count.nullish(),
    image_token_id: count.nullish(),
    video_token_index: count.nullish(),
    video_token_id: count.nullish(),
    projector_hidden_size: size.default(6144),
    multimodal_projector_bias: z.boolean().nullish(),
    tie_word_embeddings: z.boolean().nullish()
  }),
  spellings: [
    ["^language_model.lm_head.", "^lm_head."],
    ["^language_model.model.", "^model.language_model."],
    ["^vision_tower.vision_model.embeddings.patch_embedding.", "^model.vision_tower.embeddings.proj."],
    ["^vision_tower.vision_model.encoder.layers.", "^model.vision_tower.layers."],
    ["^vision_tower.vision_model.pre_layrnorm.", "^model.vision_tower.pre_layrnorm."],
    ["^patch_merge_mlp.linear_", "^model.multi_modal_projector.merge_linear_"],
    ["^multi_modal_projector.", "^model.multi_modal_projector."],
    [".block_sparse_moe.e_score_correction_bias", ".mlp.gate.e_score_correction_bias"],
    [".block_sparse_moe.gate.", ".mlp.gate."],
    [".block_sparse_moe.experts.", ".mlp.experts."],
    [".block_sparse_moe.shared_experts.", ".mlp.shared_experts."],
    [".self_attn.index_q_", ".self_attn.indexer.q_"],
    [".self_attn.index_k_", ".self_attn.indexer.k_"],
    // What transformers 5 makes of the names when it writes them back: every MLP is `block_sparse_moe`.
    [".mlp.fc", ".block_sparse_moe.fc"],
    [".mlp.gate_proj.", ".block_sparse_moe.gate_proj."],
    [".mlp.up_proj.", ".block_sparse_moe.up_proj."],
    [".mlp.down_proj.", ".block_sparse_moe.down_proj."]
  ],
  layout: (_, headers) => ({ experts: expertLayout(headers, NAMES.model), fused: fusedGateUp(headers, "mlp.", "block_sparse_moe.shared_experts.") }),
  describe: (c, { experts, fused }) => {
    const { projector_hidden_size: projector, text_config: t, vision_config: v } = c
    const apart = c.img_token_compression_config ?? v.img_token_compression_config
    const bias = c.multimodal_projector_bias ?? true
    const merge = v.spatial_merge_size ?? apart?.spatial_merge_size ?? 2
    const time = v.temporal_patch_size ?? apart?.temporal_patch_size ?? 2
    // Older files call the tower by the name of another one.
    const { model_type: _, ...withoutType } = wholeVision(v)
    const indexers = indexersOf(t, INDEXED)
    const tc = transformerOf(t, {
      ffn_hidden_size: t.dense_intermediate_size ?? t.intermediate_size,
      qk_layernorm: t.use_qk_norm ?? true,
      share_embeddings_and_output_weights: tiedOf(c),
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok,
      moe_layer_freq: moeFlags(t),
      moe_ffn_hidden_size: t.intermediate_size,
      moe_shared_expert_intermediate_size: (t.n_shared_experts ?? 1) * (t.shared_intermediate_size ?? 0) || null,
      moe_router_enable_expert_bias: true
    })
    return multimodalModel({
      carried: ["mtp.**", "**.mtp.**"].map((pattern) => ({ pattern, why: NO_PREDICTION })),
      tc,
      names: NAMES,
      table: {
        ...attention,
        ...qkNorm,
        ...denseMlp,
        ...router("block_sparse_moe.gate.weight", "block_sparse_moe.e_score_correction_bias"),
        ...sharedExperts("block_sparse_moe.shared_experts."),
        ...routedExperts(tc, experts, { names: BLOCK_SPARSE }),
        ...fused
      },
      towers: [
        {
          kind: "vision",
          path: "vision_tower",
          sizes: {
            ...pairSizes(v),
            patch: { height: v.patch_size, width: v.patch_size, channels: v.num_channels, frames: time },
            merge
          },
          build: (s) => {
            const tower = s.at("vision_model")
            tower.parameter("embeddings.patch_embedding.weight", [v.hidden_size, v.num_channels, time, v.patch_size, v.patch_size], { keep: "F32" })
            plainLayer(tower, "pre_layrnorm", [v.hidden_size])
            pairLayers(tower, v, ["q", "k", "v"])
          }
        },
        plainProjector("multi_modal_projector", { input: v.hidden_size, hidden: projector, output: t.hidden_size }, { bias }),
        plainProjector("patch_merge_mlp", { input: t.hidden_size * merge ** 2, hidden: projector, output: t.hidden_size }, { bias })
      ],
      build: (s) => gpt(s.keeping("F32", /\.mlp\.router\.weight$/), tc),
      behind: indexers.layers.length > 0 ? [indexerModule(t, indexers)] : [],
      rows: [...["vision_tower.", "multi_modal_projector.", "patch_merge_mlp."].flatMap((prefix) => mirrored(prefix, prefix)), ...indexerRows(NAMES.model)],
      provider: gptProvider(
        PROVIDER,
        tc,
        // The trainer's own default for the length; the activation is the clamped SwiGLU, whatever its name in the config.
        { ...commonOf({ ...t, hidden_act: "silu" }), dtype: "bfloat16", activation: "megatron.core.fusions.fused_bias_geglu.quick_gelu", seq_length: 4096 },
        {
          ...extraOf(t),
          // Also where they are stretched.
          position_embedding_type: "rope",
          ...FIXED,
          rotary_percent: float(t.rotary_dim / tc.kv_channels),
          layernorm_zero_centered_gamma: t.use_gemma_norm ?? true,
          activation_func_clamp_value: float(t.swiglu_limit),
          moe_router_topk_scaling_factor: float(t.routed_scaling_factor ?? 1),
          moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001),
          ...defined({ image_token_id: c.image_token_id ?? c.image_token_index ?? undefined, video_token_id: c.video_token_id ?? c.video_token_index ?? undefined }),
          projector_hidden_size: projector,
          multimodal_projector_bias: bias,
          spatial_merge_size: merge,
          temporal_patch_size: time,
          lightning_indexer_layers: indexers.layers,
          index_n_heads: indexers.heads,
          index_head_dim: indexers.width,
          hf_config_dict: {
            ...whole(c),
            dtype: c["dtype"] === undefined && c["torch_dtype"] === undefined ? "bfloat16" : whole(c)["dtype"]!,
            merged_hidden_size: t.hidden_size * (v.spatial_merge_size ?? merge) ** 2,
            // The class clamps the activation itself, whatever its name in the config.
            text_config: { ...whole(indexedToday(t, indexers, INDEXED)), model_type: "minimax_m3_vl_text", hidden_act: "silu" },
            vision_config: withoutType
          },
          vision_config: hfConfig("minimax_m3_vl.configuration_minimax_m3_vl.MiniMaxM3VLVisionConfig", {
            ...withoutType,
            spatial_merge_size: merge,
            temporal_patch_size: time
          })
        }
      ),
      components: COMPONENTS
    })
  }
})
