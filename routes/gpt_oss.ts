/** GPT-OSS: biases everywhere, attention sinks, experts whose gate and up rows alternate. Published configs name no dtype: it is bfloat16. */
import { z } from "zod"
import { family, type HfHeaders } from "../src/bridge/Family.ts"
import { packedExpertOf } from "../src/bridge/kinds.ts"
import { alternatingGatedExpertOf } from "../src/bridge/kinds/experts.ts"
import { float } from "../src/runconfig/Provider.ts"
import type { Table } from "../src/bridge/Registry.ts"
import { attention } from "./shared/blocks.ts"
import { defaulted, size } from "./shared/config.ts"
import { forwardOf, windowsAt } from "./shared/forward.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { expertsOf, GROUPED, moeFields, router } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { windowedBut } from "./shared/slidingTypes.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const isQuantised = (headers: HfHeaders): boolean =>
  headers.names.some((n) => n.endsWith(".mlp.experts.gate_up_proj") && headers.tensor(n)?.quantized !== undefined)

/** How the published models stretch their positions; configs that say nothing of it mean this. */
const YARN = { rope_type: "yarn", factor: 32, original_max_position_embeddings: 4096, beta_fast: 32, beta_slow: 1, truncate: false }

const isObject = (c: unknown): c is Record<string, unknown> => typeof c === "object" && c !== null && !Array.isArray(c)

/** What a section leaves out, it means too. */
const stretched = <T>(schema: z.ZodType<T>): z.ZodType<T> =>
  z.preprocess((c) => {
    if (!isObject(c)) return c
    const field = c["rope_scaling"] || !c["rope_parameters"] ? "rope_scaling" : "rope_parameters"
    const stated = c[field] ?? {}
    return isObject(stated) && [undefined, null, "yarn"].includes((stated["type"] ?? stated["rope_type"]) as string) ? { ...c, [field]: { ...YARN, ...stated } } : c
  }, schema)

/**
 * Experts lie as `[E, in, out]`. The reference transposes `gate_up_proj` only where its shape asks for it, so a square one stays
 * as it is, unless it was quantised. What it writes is what the trainer's own import gives; export restores the source either way.
 */
const experts = (count: number, square: boolean, quantised: boolean): Table => {
  const plain = { experts: count, transposed: false }
  return {
    "mlp.experts.linear_fc1.weight*": alternatingGatedExpertOf({ experts: count, transposed: quantised || !square, declared: true }, "mlp.experts.gate_up_proj"),
    "mlp.experts.linear_fc1.bias*": alternatingGatedExpertOf(plain, "mlp.experts.gate_up_proj_bias"),
    "mlp.experts.linear_fc2.weight*": packedExpertOf({ experts: count, transposed: true, declared: true }, "mlp.experts.down_proj"),
    "mlp.experts.linear_fc2.bias*": packedExpertOf(plain, "mlp.experts.down_proj_bias")
  }
}

export const gptOss = family({
  name: "gpt-oss",
  architectures: ["GptOssForCausalLM"],
  config: stretched(defaulted(
    { num_key_value_heads: 8, head_dim: 64, rms_norm_eps: 1e-5, rope_theta: 150_000, max_position_embeddings: 131_072 },
    z.looseObject({ ...moeFields, intermediate_size: size, num_experts_per_tok: size, sliding_window: size.nullish() })
  )),
  layout: (_, headers) => ({ quantised: isQuantised(headers) }),
  describe: (t, { quantised }) => {
    const tc = transformerOf(t, {
      add_bias_linear: true,
      add_qkv_bias: true,
      softmax_type: "learnable",
      num_moe_experts: expertsOf(t),
      moe_router_topk: t.num_experts_per_tok,
      moe_ffn_hidden_size: t.intermediate_size
    })
    return textModel({
      tc,
      table: {
        ...attention,
        "self_attention.core_attention.softmax_offset": "self_attn.sinks",
        ...router("mlp.router.weight"),
        "mlp.router.bias": "mlp.router.bias",
        ...experts(expertsOf(t), t.hidden_size === 2 * t.intermediate_size, quantised)
      },
      provider: gptProvider(GPT, tc, { ...commonOf(t), dtype: "bfloat16", activation: "megatron.core.fusions.fused_bias_geglu.quick_gelu" }, {
        ...extraOf(t),
        ...GROUPED,
        activation_func_clamp_value: float(7),
        glu_linear_offset: float(1),
        bias_activation_fusion: true,
        window_size: [(t.sliding_window ?? 128) - 1, 0],
        window_attn_skip_freq: 2,
        moe_router_load_balancing_type: "none",
        moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001)
      }),
      forward: forwardOf(t, {
        activation: { limit: 7, slope: 1.702, offset: 1 },
        router: { score: "chosen-softmax", scale: 1 },
        windows: windowsAt(windowedBut(t, 2), t.sliding_window ?? 128)
      })
    })
  }
})
