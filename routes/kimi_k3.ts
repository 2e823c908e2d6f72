/**
 * Kimi K3: most layers are channel-wise delta attention, the others gated latent attention without positions; experts work at a
 * latent width behind dense layers; residuals are chosen from a bank of earlier ones. The trainer has the language model only:
 * vision tower and projector are carried.
 */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { gatedMlpOf } from "../src/bridge/kinds.ts"
import { float, pythonName } from "../src/runconfig/Provider.ts"
import { rows, type Table } from "../src/bridge/Registry.ts"
import { deltaGpt } from "../src/model/deltaGpt.ts"
import type { TransformerConfig } from "../src/model/TransformerConfig.ts"
import { dtypeField, many, size } from "./shared/config.ts"
import { BLOCK_SPARSE, type ExpertLayout, expertLayout, routedExperts } from "./shared/experts.ts"
import { LATENT_FUSIONS } from "./shared/fusions.ts"
import { commonOf, dtypeOf, frameRows, transformerOf, vocabularyOf } from "./shared/llama.ts"
import { mlaFields, mlaOf } from "./shared/mla.ts"
import { expertsOf, GROUPED, moeFields, sharedWidth } from "./shared/moe.ts"
import { tiedOf } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { moonNames } from "./shared/towers/moonVision.ts"

const text = z.looseObject({
  ...moeFields,
  ...mlaFields,
  q_lora_rank: size,
  intermediate_size: size,
  moe_intermediate_size: size,
  routed_expert_hidden_size: size,
  num_experts_per_token: size.nullish(),
  moe_router_activation_func: z.string().nullish(),
  use_grouped_topk: z.boolean().nullish(),
  num_expert_group: size.nullish(),
  moe_layer_freq: size.nullish(),
  attn_res_block_size: size.nullish(),
  linear_attn_config: z.looseObject({
    kda_layers: z.array(many),
    num_heads: size,
    head_dim: size,
    short_conv_kernel_size: size.default(4),
    gate_lower_bound: z.number().nullish()
  })
})
type Text = z.infer<typeof text>

const model = "language_model.model."

/** Names that are the same on both sides. */
const same = (prefix: string, hf: string, names: ReadonlyArray<string>): Table => Object.fromEntries(names.map((name) => [prefix + name, hf + name]))

const layer = (tc: TransformerConfig, experts: ExpertLayout | undefined): Table => ({
  "input_layernorm.weight": "input_layernorm.weight",
  ...same("self_attention.", "self_attn.", [
    "A_log", "dt_bias", "q_proj.weight", "k_proj.weight", "v_proj.weight", "q_conv1d.weight", "k_conv1d.weight", "v_conv1d.weight",
    "f_a_proj.weight", "f_b_proj.weight", "b_proj.weight", "g_proj.weight", "o_norm.weight", "o_proj.weight", "q_a_proj.weight",
    "q_a_layernorm.weight", "q_b_proj.weight", "kv_a_proj_with_mqa.weight", "kv_a_layernorm.weight", "kv_b_proj.weight"
  ]),
  "pre_mlp_layernorm.weight": "post_attention_layernorm.weight",
  "mlp.linear_fc1.weight": gatedMlpOf("mlp.{gate,up}_proj.weight"),
  "mlp.linear_fc2.weight": "mlp.down_proj.weight",
  "mlp.router.weight": "block_sparse_moe.gate.weight",
  "mlp.router.expert_bias": "block_sparse_moe.gate.e_score_correction_bias",
  "mlp.fc1_latent_proj.weight": "block_sparse_moe.routed_expert_down_proj.weight",
  "mlp.fc2_latent_proj.weight": "block_sparse_moe.routed_expert_up_proj.weight",
  ...routedExperts(tc, experts, { names: BLOCK_SPARSE }),
  "mlp.shared_experts.linear_fc1.weight": gatedMlpOf("block_sparse_moe.shared_experts.{gate,up}_proj.weight"),
  "mlp.shared_experts.linear_fc2.weight": "block_sparse_moe.shared_experts.down_proj.weight",
  "mlp.routed_expert_norm.weight": "block_sparse_moe.routed_expert_norm.weight",
  ...same("", "", ["self_attention_res_norm.weight", "self_attention_res_proj.weight", "mlp_res_norm.weight", "mlp_res_proj.weight"])
})

/** MoE from the first non-dense layer on, every `moe_layer_freq`-th. */
const moeLayers = (t: Text): ReadonlyArray<number> =>
  Array.from({ length: t.num_hidden_layers }, (_, i) => (i >= (t.first_k_dense_replace ?? 0) && i % (t.moe_layer_freq ?? 1) === 0 ? 1 : 0))

export const kimiK3 = family({
  name: "kimi-k3",
  architectures: ["KimiK3ForConditionalGeneration"],
  config: () => z.looseObject({ text_config: text, tie_word_embeddings: z.boolean().nullish(), dtype: dtypeField, torch_dtype: dtypeField }),
  layout: (_, headers) => expertLayout(headers, model),
  describe: (c, experts) => {
    const t = c.text_config
    const delta = t.linear_attn_config
    const deltaLayers = new Set(delta.kda_layers)
    const tc = transformerOf(t, {
      ...mlaOf(t),
      share_embeddings_and_output_weights: tiedOf(c),
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_token ?? t.num_experts_per_tok ?? undefined,
      moe_ffn_hidden_size: t.moe_intermediate_size,
      moe_shared_expert_intermediate_size: sharedWidth(t),
      moe_router_enable_expert_bias: true,
      moe_latent_size: t.routed_expert_hidden_size,
      moe_layer_freq: moeLayers(t)
    })
    return {
      modules: [{
        kind: "language",
        path: "",
        config: tc,
        build: (s) =>
          deltaGpt(s, tc, {
            delta: { heads: delta.num_heads, headDim: delta.head_dim, kernel: delta.short_conv_kernel_size },
            // The config counts layers from 1.
            isDelta: (i) => deltaLayers.has(i + 1)
          })
      }],
      rows: [
        ...frameRows({ model, head: "language_model." }),
        ...rows(`decoder.layers.${tc.num_layers - 1}.`, model, same("", "", ["output_attn_res_norm.weight", "output_attn_res_proj.weight"])),
        ...rows("decoder.layers.*.", `${model}layers.*.`, layer(tc, experts))
      ],
      provider: gptProvider("megatron.bridge.models.kimi.kimi_k3_provider.KimiK3ModelProvider", tc, {
        ...commonOf({ ...t, hidden_act: "silu" }),
        dtype: dtypeOf(t, c)
      }, {
        ...GROUPED,
        ...LATENT_FUSIONS,
        attention_softmax_in_fp32: true,
        bias_activation_fusion: false,
        bias_dropout_fusion: false,
        hidden_dropout: float(0),
        attention_dropout: float(0),
        position_embedding_type: "none",
        transformer_layer_spec: pythonName("megatron.bridge.models.kimi.kimi_k3_spec.build_kimi_k3_spec"),
        kimi_kda_layers: delta.kda_layers,
        kimi_linear_num_heads: delta.num_heads,
        kimi_linear_head_dim: delta.head_dim,
        kimi_linear_conv_kernel_size: delta.short_conv_kernel_size,
        kimi_kda_gate_lower_bound: typeof delta.gate_lower_bound === "number" ? float(delta.gate_lower_bound) : undefined,
        kimi_attn_res_block_size: t.attn_res_block_size ?? undefined,
        moe_router_score_function: t.moe_router_activation_func ?? undefined,
        moe_router_num_groups: t.use_grouped_topk ? t.num_expert_group ?? undefined : undefined,
        moe_router_group_topk: t.use_grouped_topk ? t.topk_group ?? undefined : undefined,
        moe_router_topk_scaling_factor: t.routed_scaling_factor ?? undefined,
        moe_router_pre_softmax: true,
        moe_router_dtype: "fp32",
        moe_router_load_balancing_type: "none",
        moe_aux_loss_coeff: float(0),
        use_te_activation_func: true
      }),
      carried: moonNames().map((pattern) => ({ pattern, why: "the trainer has the language model alone" })),
      vocabulary: vocabularyOf(tc, { model, head: "language_model." })
    }
  }
})
