/** EXAONE-MoE (K-EXAONE): dense layers first, sliding and full attention in turn, full attention without rotary embedding. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { gpt, transformerLayer } from "../src/model/gpt.ts"
import { attention, denseMlp, fcMtp, qkNorm } from "./shared/blocks.ts"
import { many, positions, size } from "./shared/config.ts"
import { expertLayout, routedExperts } from "./shared/experts.ts"
import { forwardOf, sigmoidRouterFacts, windowsAt } from "./shared/forward.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { denseFirst, expertsOf, GROUPED, moeFields, router, sharedExperts, sharedWidth, sigmoidRouter } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { ropeFactorFields } from "./shared/ropeScaling.ts"
import { slidingPattern, slidingTypes } from "./shared/slidingTypes.ts"
import { textModel } from "./shared/textModel.ts"

const PROVIDER = "megatron.bridge.models.exaone.exaone_moe.exaone_moe_provider.ExaoneMoeModelProvider"

export const exaoneMoe = family({
  name: "exaone-moe",
  architectures: ["ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM"],
  config: () => z.looseObject({
    ...moeFields,
    ...positions(2048),
    num_key_value_heads: size.nullable().default(32),
    rms_norm_eps: z.number().nullable().default(1e-5),
    intermediate_size: size,
    moe_intermediate_size: size,
    num_experts_per_tok: size,
    n_group: size.nullable().default(1),
    topk_group: size.nullable().default(1),
    layer_types: z.array(z.enum(["sliding_attention", "full_attention"])).max(100_000).nullish(),
    sliding_window: size.nullable().default(4096),
    sliding_window_pattern: slidingPattern,
    mtp_num_hidden_layers: many.nullish(),
    mtp_layer_types: z.array(z.string()).max(1000).nullish(),
    mtp_sliding_windows: z.array(many).max(1000).nullish()
  }),
  spellings: [[".mlp.e_score_correction_bias", ".mlp.gate.e_score_correction_bias"]],
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    const modules = t.num_nextn_predict_layers ?? t.mtp_num_hidden_layers ?? 0
    const tc = transformerOf(t, {
      qk_layernorm: true,
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok,
      moe_layer_freq: denseFirst(t, 1),
      moe_ffn_hidden_size: t.moe_intermediate_size,
      moe_shared_expert_intermediate_size: sharedWidth({ ...t, num_shared_experts: t.num_shared_experts ?? 1 }),
      moe_router_enable_expert_bias: true,
      mtp_num_layers: modules
    })
    const dense = { ...attention, ...qkNorm, ...denseMlp }
    const types = slidingTypes(t)
    // The attention of the prediction layers is full, unless the config names it.
    const predicted = {
      types: t.mtp_layer_types ?? Array.from({ length: modules }, () => "full_attention"),
      windows: t.mtp_sliding_windows ?? Array.from({ length: modules }, () => 0)
    }
    const sliding = types.map((kind) => (kind === "sliding_attention" ? 1 : 0))
    return textModel({
      tc,
      build: (s) => gpt(s, tc, { mtpLayer: (layer) => transformerLayer(layer, tc, { linearAttention: false, moe: false }) }),
      table: {
        ...dense,
        ...router("mlp.gate.weight", "mlp.e_score_correction_bias"),
        ...sharedExperts(),
        ...routedExperts(tc, experts)
      },
      rows: fcMtp(modules, dense, "num_nextn_predict_layers"),
      provider: gptProvider(PROVIDER, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        ...sigmoidRouter(t),
        moe_router_score_function: t.scoring_func ?? "sigmoid",
        rope_scaling_factor: null,
        ...ropeFactorFields(t),
        layer_types: types,
        mtp_layer_types: predicted.types,
        mtp_sliding_windows: predicted.windows,
        mtp_loss_scaling_factor: float(typeof t["mtp_loss_scaling_factor"] === "number" ? t["mtp_loss_scaling_factor"] : 0.1),
        sliding_windows: t.sliding_window ? sliding.map((s) => s * t.sliding_window!) : undefined,
        window_attn_skip_freq: sliding,
        window_size: t.sliding_window ? [t.sliding_window - 1, 0] : undefined,
        no_rope_freq: sliding.map((s) => 1 - s)
      }),
      forward: forwardOf(t, {
        router: sigmoidRouterFacts(t),
        windows: windowsAt(types, t.sliding_window),
        layer: (i) => (t.sliding_window === null || types[i] === "sliding_attention" ? {} : { rotary: null })
      }),
      mtpFields: ["num_nextn_predict_layers", "mtp_num_hidden_layers"]
    })
  }
})
