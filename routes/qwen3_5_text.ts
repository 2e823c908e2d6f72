/** Qwen3.5 without its vision tower, dense and MoE. */
import { z } from "zod"
import { family, type FamilyDescription } from "../src/bridge/Family.ts"
import { hybridZeroBiases, hybridCommon, hybridDenseFields, hybridExtra, hybridFields, type HybridLayout, hybridLayout, hybridRows, type HybridText, hybridTransformer, hybridMoeFields, plainHybridExtra, withoutUnusedWidth } from "./shared/hybridText.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT, textModel } from "./shared/textModel.ts"

const NAMES = { megatron: "", model: "model.", head: "" }

const describe = (moe: boolean) => (t: HybridText, layout: HybridLayout): FamilyDescription => {
  const tc = hybridTransformer(withoutUnusedWidth(t, moe), { moe, mtp: t.mtp_num_hidden_layers ?? 0, tied: t.tie_word_embeddings ?? false })
  const { mrope_section: _, ...extra } = hybridExtra(t, moe)
  return textModel({
    tc,
    table: {},
    rows: hybridRows(t, layout, NAMES, { tc, experts: "packed" }),
    provider: gptProvider(GPT, tc, hybridCommon(t), { ...extra, ...plainHybridExtra(moe) }),
    ...hybridZeroBiases(t),
    mtpFields: ["mtp_num_hidden_layers"]
  })
}

export const qwen3_5Text = family({
  name: "qwen3.5-text",
  architectures: ["Qwen3_5ForCausalLM"],
  config: () => z.looseObject({ ...hybridFields, ...hybridDenseFields }),
  layout: (_, headers) => hybridLayout(headers, NAMES.model),
  describe: describe(false)
})

export const qwen3_5TextMoe = family({
  name: "qwen3.5-text-moe",
  architectures: ["Qwen3_5MoeForCausalLM"],
  config: () => z.looseObject({ ...hybridFields, ...hybridMoeFields }),
  layout: (_, headers) => hybridLayout(headers, NAMES.model),
  describe: describe(true)
})
