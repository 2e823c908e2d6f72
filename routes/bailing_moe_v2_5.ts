/**
 * Bailing MoE V2.5 (Ling and Ring 2.5, also Linear and Hybrid): lightning attention in all but the last layer of each group,
 * latent attention there. The trainer is AReaL, which builds the model from its own layer specs.
 */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { concatenatedQkvOf } from "../src/bridge/kinds.ts"
import { float } from "../src/runconfig/Provider.ts"
import type { Table } from "../src/bridge/Registry.ts"
import { gpt, transformerLayer } from "../src/model/gpt.ts"
import { lightningAttention } from "../src/model/lightningAttention.ts"
import { mlp, moe, norm } from "../src/model/modules.ts"
import type { Scope } from "../src/model/Scope.ts"
import { isMoe } from "../src/model/TransformerConfig.ts"
import { appendedMtp } from "./shared/appendedMtp.ts"
import { bailingFields, bailingMlp, bailingTransformer, EMBEDDING } from "./shared/bailing.ts"
import { size } from "./shared/config.ts"
import { commonOf, extraOf, headDimOf } from "./shared/llama.ts"
import { latentAttentionRows, MLA, mlaOf } from "./shared/mla.ts"
import { GROUPED, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { textLayout } from "./shared/textLayout.ts"
import { textModel } from "./shared/textModel.ts"

const lightningRows: Table = {
  "input_layernorm.weight": "input_layernorm.weight",
  "self_attention.linear_qkv.weight": concatenatedQkvOf("attention.query_key_value.weight"),
  "self_attention.linear_gate.weight": "attention.g_proj.weight",
  "self_attention.linear_proj.weight": "attention.dense.weight",
  "self_attention.q_layernorm.weight": "attention.query_layernorm.weight",
  "self_attention.k_layernorm.weight": "attention.key_layernorm.weight",
  "self_attention.gate_norm.weight": "attention.g_norm.weight"
}

export const bailingMoeV2_5 = family({
  name: "bailing-moe-v2.5",
  architectures: ["BailingMoeV2_5ForCausalLM", "BailingMoeLinearForCausalLM", "BailingHybridForCausalLM"],
  config: () => z.looseObject({
    ...bailingFields,
    q_lora_rank: size.nullish(),
    kv_lora_rank: size.default(512),
    qk_nope_head_dim: size.default(128),
    qk_rope_head_dim: size.default(64),
    v_head_dim: size.default(128),
    attn_head_dim: size.nullish(),
    layer_group_size: size.default(1)
  }),
  layout: textLayout,
  describe: (t, { experts, modules }) => {
    const headDim = t.attn_head_dim ?? headDimOf(t)
    const tc = bailingTransformer(t, { ...mlaOf(t), moe_router_enable_expert_bias: true, mtp_num_layers: modules })
    const isLightning = (i: number) => t.layer_group_size > 1 && (i + 1) % t.layer_group_size !== 0
    const lightningLayer = (layer: Scope, i: number): void => {
      norm(layer, "input_layernorm", tc.hidden_size, tc.normalization)
      lightningAttention(layer.at("self_attention"), tc, headDim)
      if (isMoe(tc, i)) {
        norm(layer, "pre_mlp_layernorm", tc.hidden_size, tc.normalization)
        moe(layer.at("mlp"), tc)
      } else mlp(layer.at("mlp"), tc, tc.ffn_hidden_size, { fusedNorm: tc.normalization })
    }
    const mlpRows = bailingMlp(tc, experts)
    const latent = { ...latentAttentionRows("attention.", "dense"), ...mlpRows }
    const mtp = appendedMtp({
      layers: t.num_hidden_layers,
      modules,
      table: latent,
      finalNorm: "final_layernorm.weight",
      embedding: `${EMBEDDING}.weight`,
      tied: tc.share_embeddings_and_output_weights
    })
    return textModel({
      tc,
      build: (s) =>
        gpt(s, tc, {
          layer: (layer, i) => (isLightning(i) ? lightningLayer(layer, i) : transformerLayer(layer, tc, { linearAttention: false, moe: isMoe(tc, i) }))
        }),
      table: { ...latent, ...lightningRows },
      rows: mtp.rows,
      embedding: EMBEDDING,
      provider: gptProvider(MLA, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...sigmoidRouter({ n_group: t.n_group ?? 8, topk_group: t.topk_group ?? 4, routed_scaling_factor: t.routed_scaling_factor }),
        position_embedding_type: "rope",
        rope_type: "rope",
        rotary_percent: float(1),
        rotary_scaling_factor: float(t.rope_scaling?.factor ?? 1),
        mscale: float(0.707),
        mscale_all_dim: float(0.707),
        apply_rope_fusion: false,
        make_vocab_size_divisible_by: 128,
        moe_router_dtype: "fp32",
        moe_router_bias_update_rate: 0,
        moe_router_load_balancing_type: "none",
        moe_z_loss_coeff: float(3.5e-6),
        mtp_num_layers: modules
      }),
      carried: mtp.carried,
      mtpFields: ["num_nextn_predict_layers"]
    })
  }
})
