/**
 * Qwen3.5-VL, dense and MoE: three of four layers are Gated DeltaNet, every fourth is gated full attention; a vision
 * transformer of Megatron's own layers; optional multi-token prediction. The family that the reference can train as MIMO.
 * With a label head instead of the vocabulary's it classifies tokens.
 */
import { z } from "zod"
import { family, type FamilyDescription } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { rows } from "../src/bridge/Registry.ts"
import { gpt } from "../src/model/gpt.ts"
import type { ModuleSource } from "../src/model/ModelModule.ts"
import { many } from "./shared/config.ts"
import { hybridDenseFields, hybridZeroBiases, hybridCommon, hybridExtra, hybridFields, type HybridLayout, hybridLayout, hybridRows, hybridTransformer, hybridMoeFields, withoutUnusedWidth } from "./shared/hybridText.ts"
import { hfConfig, wholeVision } from "./shared/hfConfig.ts"
import { dtypeOf, vocabularyOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"
import { languageAnd, tiedOf, tokenIds, visionTokens, vocabularyMarks } from "./shared/multimodal.ts"
import { blockVision, blockVisionFields, blockVisionRows } from "./shared/towers/blockVision.ts"

const text = z.looseObject(hybridFields)
const schema = z.looseObject({
  text_config: text,
  vision_config: z.looseObject(blockVisionFields),
  tie_word_embeddings: z.boolean().nullish(),
  num_labels: many.min(1).nullish(),
  id2label: z.record(z.string(), z.string()).nullish(),
  classifier_dropout: z.number().nullish(),
  ...visionTokens
})
type Config = z.infer<typeof schema>

const NAMES = { megatron: "language_model.", model: "model.language_model.", head: "" }
const PROVIDERS = {
  dense: "megatron.bridge.models.qwen_vl.qwen35_vl_provider.Qwen35VLModelProvider",
  moe: "megatron.bridge.models.qwen_vl.qwen35_vl_provider.Qwen35VLMoEModelProvider",
  labels: "megatron.bridge.models.qwen_vl.qwen35_vl_provider.Qwen35TokenClassificationModelProvider"
}
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_model.", encoder: "qwen_visual" })

/** In place of the vocabulary's output layer. */
const labelHead = (labels: number, hidden: number): ModuleSource => ({
  kind: "classifier",
  path: "language_model.output_layer",
  sizes: { hidden, labels },
  build: (s) => {
    const last = s.on("last")
    last.parameter("weight", [labels, hidden])
    last.parameter("bias", [labels])
  }
})

const describe = (form: keyof typeof PROVIDERS) => (c: Config, layout: HybridLayout): FamilyDescription => {
  const t = c.text_config
  const moe = form === "moe"
  const labels = form === "labels" ? c.num_labels ?? Object.keys(c.id2label ?? { 0: "", 1: "" }).length : undefined
  const tied = labels === undefined && tiedOf(c)
  const mtp = labels === undefined ? t.mtp_num_hidden_layers ?? 0 : 0
  const tc = hybridTransformer(withoutUnusedWidth(t, moe), { moe, mtp, tied })
  const variant = moe ? ["qwen3_5_moe", "Qwen3_5Moe"] : ["qwen3_5", "Qwen3_5"]
  return {
    modules: [
      blockVision("vision_model", c.vision_config),
      { kind: "language", path: "language_model", config: tc, build: (s) => gpt(s, { ...tc, share_embeddings_and_output_weights: tied || labels !== undefined }) },
      ...(labels === undefined ? [] : [labelHead(labels, t.hidden_size)])
    ],
    rows: [
      ...(labels === undefined ? [] : rows("language_model.output_layer.", "score.", { weight: "weight", bias: "bias" })),
      ...hybridRows(t, layout, NAMES, { tc, experts: "packed", mtp: labels === undefined }),
      ...blockVisionRows("vision_model.", "model.visual.", { deepstack: false })
    ],
    provider: gptProvider(
      PROVIDERS[form],
      tc,
      hybridCommon(t),
      {
        ...hybridExtra(t, moe),
        ...tokenIds(c),
        position_embedding_type: "mrope",
        experimental_attention_variant: "gated_delta_net",
        ...vocabularyMarks(t, { bos_token_id: null, eos_token_id: null }),
        vision_config: hfConfig(`${variant[0]}.configuration_${variant[0]}.${variant[1]}VisionConfig`, { ...wholeVision(c.vision_config), dtype: dtypeOf(t) }),
        ...(labels === undefined ? {} : { num_labels: labels, classifier_dropout: float(c.classifier_dropout ?? 0.1), mtp_num_layers: 0 })
      },
      { mimo: labels === undefined }
    ),
    components: COMPONENTS,
    ...hybridZeroBiases(t),
    ...(labels === undefined ? { vocabulary: vocabularyOf(tc, NAMES) } : {}),
    mtpFields: ["text_config.mtp_num_hidden_layers"]
  }
}

const dense = schema.extend({ text_config: text.extend(hybridDenseFields) })

export const qwen3_5Vl = family({
  name: "qwen3.5-vl",
  architectures: ["Qwen3_5ForConditionalGeneration"],
  mimo: [{ providers: [PROVIDERS.dense], components: COMPONENTS }],
  config: dense,
  layout: (_, headers) => hybridLayout(headers, NAMES.model),
  describe: describe("dense")
})

export const qwen3_5VlMoe = family({
  name: "qwen3.5-vl-moe",
  architectures: ["Qwen3_5MoeForConditionalGeneration"],
  mimo: [{ providers: [PROVIDERS.moe], components: COMPONENTS }],
  config: schema.extend({ text_config: text.extend(hybridMoeFields) }),
  layout: (_, headers) => hybridLayout(headers, NAMES.model),
  describe: describe("moe")
})

export const qwen3_5TokenClassification = family({
  name: "qwen3.5-token-classification",
  architectures: ["Qwen3_5ForTokenClassification"],
  mimo: [{ providers: [PROVIDERS.labels], components: COMPONENTS }],
  config: dense,
  layout: (_, headers) => hybridLayout(headers, NAMES.model),
  describe: describe("labels")
})
