/** Hunyuan V3: dense layers first, a sigmoid router, a shared MLP, multi-token prediction behind the decoder. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { appendedModules, appendedMtp } from "./shared/appendedMtp.ts"
import { attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { size } from "./shared/config.ts"
import { expertForm, expertRows } from "./shared/experts.ts"
import { carriedBiases, commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { BLOCK_SPEC, denseFirst, expertsOf, GROUPED, moeFields, router, sharedExperts, sharedWidth, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

export const hyV3 = family({
  name: "hy-v3",
  architectures: ["HYV3ForCausalLM"],
  config: z.looseObject({
    ...moeFields,
    intermediate_size: size,
    moe_intermediate_size: size,
    num_experts_per_tok: size,
    qk_norm: z.boolean().nullish(),
    router_scaling_factor: z.number().nullish()
  }),
  describe: (t, headers) => {
    const experts = expertsOf(t)
    const modules = appendedModules(headers, t)
    const tc = transformerOf(t, {
      add_qkv_bias: t.attention_bias ?? false,
      qk_layernorm: t.qk_norm ?? true,
      num_moe_experts: experts,
      moe_layer_freq: denseFirst(t, 1),
      moe_ffn_hidden_size: t.moe_intermediate_size,
      moe_shared_expert_intermediate_size: sharedWidth({ ...t, num_shared_experts: t.num_shared_experts ?? 1 }),
      moe_router_enable_expert_bias: true,
      mtp_num_layers: modules
    })
    const sizes = { experts, hidden: t.hidden_size, ffn: t.moe_intermediate_size }
    const layer = {
      ...attention,
      ...qkNorm,
      ...denseMlp,
      ...router("mlp.router.gate.weight", "mlp.expert_bias"),
      ...sharedExperts("mlp.shared_mlp."),
      ...expertRows(expertForm(headers, "model.layers.", sizes, "separate"))
    }
    const mtp = appendedMtp({
      layers: t.num_hidden_layers,
      modules,
      table: layer,
      finalNorm: "final_layernorm.weight",
      tied: tc.share_embeddings_and_output_weights
    })
    return textModel({
      tc,
      table: layer,
      rows: mtp.rows,
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...sigmoidRouter({ routed_scaling_factor: t.router_scaling_factor }),
        transformer_layer_spec: BLOCK_SPEC,
        moe_router_topk: t.num_experts_per_tok,
        moe_router_dtype: "fp32",
        moe_router_bias_update_rate: 0,
        moe_router_load_balancing_type: "none"
      }),
      carried: [...mtp.carried, ...carriedBiases({ attention_bias: t.attention_bias, mlp_bias: false })],
      mtpFields: ["num_nextn_predict_layers"]
    })
  }
})
