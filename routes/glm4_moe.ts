/** GLM-4.5, 4.6 and 4.7: dense layers first, a sigmoid router with correction bias, multi-token prediction behind the decoder. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/bridge/Provider.ts"
import { appendedModules, appendedMtp } from "./shared/appendedMtp.ts"
import { attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { size } from "./shared/config.ts"
import { expertForm, expertRows } from "./shared/experts.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { BLOCK_SPEC, denseFirst, expertsOf, GROUPED, moeFields, router, sharedExperts, sharedWidth, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const glm4Moe = family({
  name: "glm4-moe",
  architectures: ["Glm4MoeForCausalLM"],
  config: z.looseObject({
    ...moeFields,
    intermediate_size: size,
    moe_intermediate_size: size,
    num_experts_per_tok: size,
    use_qk_norm: z.boolean().nullish()
  }),
  describe: (t, headers) => {
    const experts = expertsOf(t)
    const modules = appendedModules(headers, t)
    const tc = transformerOf(t, {
      add_qkv_bias: t.attention_bias ?? false,
      qk_layernorm: t.use_qk_norm ?? false,
      num_moe_experts: experts,
      moe_layer_freq: denseFirst(t, 1),
      moe_ffn_hidden_size: t.moe_intermediate_size,
      moe_shared_expert_intermediate_size: sharedWidth(t),
      moe_router_enable_expert_bias: true,
      mtp_num_layers: modules
    })
    const sizes = { experts, hidden: t.hidden_size, ffn: t.moe_intermediate_size }
    const layer = {
      ...attention,
      ...qkNorm,
      ...denseMlp,
      ...router("mlp.gate.weight", "mlp.gate.e_score_correction_bias"),
      ...sharedExperts(),
      ...expertRows(expertForm(headers, "model.layers.", sizes, "separate"))
    }
    const mtp = appendedMtp({ layers: t.num_hidden_layers, modules, table: layer, tied: tc.share_embeddings_and_output_weights })
    return textModel({
      tc,
      table: layer,
      rows: mtp.rows,
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...sigmoidRouter(t),
        transformer_layer_spec: BLOCK_SPEC,
        bias_activation_fusion: true,
        bias_dropout_fusion: true,
        persist_layer_norm: true,
        moe_router_topk: t.num_experts_per_tok,
        moe_router_dtype: "fp32",
        moe_router_bias_update_rate: 0,
        moe_router_load_balancing_type: "seq_aux_loss",
        moe_shared_expert_overlap: true,
        moe_aux_loss_coeff: float(0.001),
        mtp_num_layers: modules,
        mtp_loss_scaling_factor: float(0.3)
      }),
      carried: mtp.carried,
      mtpFields: ["num_nextn_predict_layers"]
    })
  }
})
