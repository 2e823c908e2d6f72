/** Mixtral: Mistral with routed experts in every layer. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { publisherForm } from "../src/bridge/PublisherForm.ts"
import { attention } from "./shared/blocks.ts"
import { defaulted, size } from "./shared/config.ts"
import { assumedOf, EXPERTS, textFieldsOf, textParams, textTensors } from "./shared/consolidated.ts"
import { BLOCK_SPARSE, expertLayout, routedExperts, SPARSE_BLOCK } from "./shared/experts.ts"
import { forwardOf, softmaxRouter } from "./shared/forward.ts"
import { textConfig } from "./shared/implied.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { expertsOf, GROUPED, moeFields, router } from "./shared/moe.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

/** Where params.json does not say them: the base of the publisher's program, the positions of transformers' script. */
const [BASE, POSITIONS] = [1e6, 32_768]

const published = z.strictObject({ ...textParams, sliding_window: z.null().optional(), moe: z.strictObject({ num_experts: size, num_experts_per_tok: size }) })

export const mixtral = family({
  name: "mixtral",
  architectures: ["MixtralForCausalLM"],
  config: () => defaulted(
    { num_key_value_heads: 8, rms_norm_eps: 1e-5, rope_theta: 1e6 },
    z.looseObject({ ...moeFields, intermediate_size: size, num_experts_per_tok: size, sliding_window: size.nullish() })
  ),
  spellings: SPARSE_BLOCK,
  layout: (_, headers) => expertLayout(headers),
  describe: (t, experts) => {
    const tc = transformerOf(t, { num_moe_experts: expertsOf(t), moe_router_topk: t.num_experts_per_tok, moe_ffn_hidden_size: t.intermediate_size })
    return textModel({
      tc,
      table: { ...attention, ...router("block_sparse_moe.gate.weight"), ...routedExperts(tc, experts, { names: BLOCK_SPARSE }) },
      provider: gptProvider(GPT, tc, commonOf(t), {
        ...extraOf(t),
        ...GROUPED,
        window_size: t.sliding_window ? [t.sliding_window - 1, 0] : undefined,
        moe_aux_loss_coeff: float(t.router_aux_loss_coef ?? 0.001)
      }),
      forward: forwardOf(t, { windows: () => t.sliding_window, router: softmaxRouter({}, true) })
    })
  },
  publisher: [publisherForm({
    applies: (p) => "moe" in p && ["vision_encoder", "multimodal", "yarn", "llama_4_scaling", "quantization", "qk_nope_head_dim"].every((field) => !(field in p)),
    params: published,
    config: (p) => ({
      architecture: "MixtralForCausalLM",
      config: { model_type: "mixtral", ...textFieldsOf(p, POSITIONS, BASE), num_local_experts: p.moe.num_experts, num_experts_per_tok: p.moe.num_experts_per_tok, sliding_window: null, hidden_act: "silu" },
      assumed: assumedOf(p, POSITIONS, BASE)
    }),
    tensors: textTensors("model.", "", EXPERTS)
  })],
  impliedConfig: (m) => ({
    ...textConfig(m), model_type: "mixtral", intermediate_size: m.number("moe_ffn_hidden_size") ?? null, num_local_experts: m.number("num_moe_experts") ?? null,
    num_experts_per_tok: m.number("moe_router_topk")!, sliding_window: null
  })
})
