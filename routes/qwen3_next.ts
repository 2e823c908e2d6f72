/** Qwen3-Next: the MoE ancestor of Qwen3.5, whose Gated DeltaNet projections are grouped by key head. */
import { z } from "zod"
import { gatedDeltaNetByHeadOf } from "../src/bridge/kinds/gatedDeltaNet.ts"
import { float } from "../src/runconfig/Provider.ts"
import { family, type HfHeaders } from "../src/bridge/Family.ts"
import { gatedDeltaNetRows } from "./shared/blocks.ts"
import { defaulted } from "./shared/config.ts"
import { hybridZeroBiases, hybridCommon, hybridExtra, hybridFields, hybridLayout, hybridRows, hybridTransformer, hybridMoeFields, plainHybridExtra } from "./shared/hybridText.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

/** Published configs do not mention the MTP layers that the checkpoints have. */
const mtpLayersIn = ({ names }: HfHeaders): number =>
  new Set(names.flatMap((name) => /^mtp\.layers\.(\d+)\./.exec(name)?.[1] ?? [])).size

const NAMES = { megatron: "", model: "model.", head: "" }

export const qwen3Next = family({
  name: "qwen3-next",
  architectures: ["Qwen3NextForCausalLM"],
  config: () => defaulted({ num_key_value_heads: 2, num_experts_per_tok: 10 }, z.looseObject({ ...hybridFields, ...hybridMoeFields })),
  layout: (_, headers) => ({ ...hybridLayout(headers, NAMES.model), modules: mtpLayersIn(headers) }),
  describe: (t, layout) => {
    const tc = hybridTransformer(t, {
      moe: true,
      mtp: t.num_nextn_predict_layers ?? t.mtp_num_hidden_layers ?? layout.modules,
      tied: t.tie_word_embeddings ?? false
    })
    const linear = { ...gatedDeltaNetRows, "self_attention.in_proj.weight": gatedDeltaNetByHeadOf(t.linear_num_key_heads, "linear_attn.in_proj_{qkvz,ba}.weight") }
    const { mrope_section: _, ...extra } = hybridExtra(t, true)
    return textModel({
      tc,
      table: {},
      rows: hybridRows(t, layout, NAMES, { tc, experts: "separate", linear }),
      provider: gptProvider(GPT, tc, hybridCommon(t), { ...extra, ...plainHybridExtra(true), moe_aux_loss_coeff: float(0.001), moe_router_dtype: "fp32" }),
      ...hybridZeroBiases(t),
      mtpFields: ["num_nextn_predict_layers", "mtp_num_hidden_layers"]
    })
  }
})
