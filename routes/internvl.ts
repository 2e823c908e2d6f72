/**
 * InternVL: an InternViT tower and a projector before a language model of one of several families; as published, and as
 * transformers converts it. No class of the reference builds it; Megatron names follow its predecessor.
 */
import { z } from "zod"
import { gatedMlpOf } from "../src/bridge/kinds.ts"
import { family, type FamilyDescription, type HfHeaders } from "../src/bridge/Family.ts"
import { rows, type Table } from "../src/bridge/Registry.ts"
import { FormatError, quote } from "../src/errors.ts"
import type { TransformerConfig } from "../src/model/TransformerConfig.ts"
import { attentionBiases, biasFields, flaggedBiases, flaggedZeroBiases, type LinearBiases, withZeroBiases, zeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, mlpBiases, qkNorm } from "./shared/blocks.ts"
import { many, size } from "./shared/config.ts"
import { type ExpertLayout, expertLayout, routedExperts } from "./shared/experts.ts"
import { type ForwardChange, forwardOf, softmaxRouter, tailWindows } from "./shared/forward.ts"
import { commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { GROUPED, moeFields, router, sparseMoe } from "./shared/moe.ts"
import { generationOf, languageAnd, multimodalModel, tiedOf, WRAPPED_NAMES } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { GPT } from "./shared/textModel.ts"
import { convertedScaledVision, normedProjector, publishedScaledVision, scaledVision, scaledVisionFields } from "./shared/towers/scaledVision.ts"

const text = z.looseObject({
  ...moeFields,
  model_type: z.string(),
  bias: z.boolean().nullish(),
  decoder_sparse_step: size.nullish(),
  mlp_only_layers: z.array(many).nullish()
})
type Text = z.infer<typeof text>

const common = {
  vision_config: z.looseObject(scaledVisionFields),
  downsample_ratio: z.number().positive().max(1).default(0.5),
  tie_word_embeddings: z.boolean().nullish()
}

/** What the language models differ in. */
interface Language {
  readonly change: (t: Text) => Partial<TransformerConfig>
  readonly biases: (t: Text) => LinearBiases
  /** What it computes beside the common. */
  readonly forward?: (t: Text) => ForwardChange
  /** Fields of config.json that give the language model all biases. */
  readonly allBiases?: (t: Text, section: string) => ReturnType<typeof zeroBiases>
  readonly table: (tc: TransformerConfig, experts: ExpertLayout | undefined) => Table
  /** Its embedding and head, if they are not called `embed_tokens` and `lm_head`. */
  readonly frame?: readonly [embedding: string, head: string]
}

const dense = (biases: Language["biases"], change: Partial<TransformerConfig> = {}): Language => ({
  change: () => change,
  biases,
  table: () => ({ ...attention, ...qkNorm, ...denseMlp, ...mlpBiases })
})
/** Of all layers. */
const slidingWindow = (t: Text): ForwardChange["windows"] => {
  const { data, success } = size.nullish().safeParse(t["sliding_window"])
  return success ? () => data : "unknown"
}

const NONE: LinearBiases = { qkv: false, output: false, mlp: false }

const LANGUAGES: ReadonlyMap<string, Language> = new Map<string, Language>([
  ["llama", { ...dense(flaggedBiases), allBiases: flaggedZeroBiases }],
  ["mistral", { ...dense(() => NONE), forward: (t) => ({ windows: slidingWindow(t) }) }],
  ["qwen2", { ...dense(() => ({ ...NONE, qkv: true })), forward: (t) => ({ windows: tailWindows(t) }) }],
  ["qwen3", { ...dense(attentionBiases, { qk_layernorm: true }), forward: (t) => ({ windows: tailWindows(t) }) }],
  ["qwen3_moe", {
    change: (t) => ({ qk_layernorm: true, ...sparseMoe({ ...t, num_experts_per_tok: t.num_experts_per_tok ?? 8 }) }),
    biases: attentionBiases,
    forward: (t) => ({ windows: t["use_sliding_window"] === true ? "unknown" : undefined, router: softmaxRouter(t) }),
    table: (tc, experts) => ({ ...attention, ...qkNorm, ...denseMlp, ...router("mlp.gate.weight"), ...routedExperts(tc, experts) })
  }],
  ["internlm2", {
    change: () => ({}),
    biases: (t) => attentionBiases({ attention_bias: t.bias }),
    table: () => ({
      "self_attention.linear_qkv.layer_norm_weight": "attention_norm.weight",
      // Its rows already stand group by group.
      "self_attention.linear_qkv.weight": "attention.wqkv.weight",
      "self_attention.linear_qkv.bias": "attention.wqkv.bias",
      "self_attention.linear_proj.weight": "attention.wo.weight",
      "self_attention.linear_proj.bias": "attention.wo.bias",
      "mlp.linear_fc1.layer_norm_weight": "ffn_norm.weight",
      "mlp.linear_fc1.weight": gatedMlpOf("feed_forward.{w1,w3}.weight"),
      "mlp.linear_fc2.weight": "feed_forward.w2.weight"
    }),
    frame: ["tok_embeddings", "output"]
  }]
])

const languageOf = (t: Text): Language => {
  const found = LANGUAGES.get(t.model_type)
  if (found) return found
  throw new FormatError("config/language-model", `unknown language model ${quote(t.model_type)}; known: ${[...LANGUAGES.keys()].join(", ")}`, { field: "model_type" })
}

type Config = z.infer<z.ZodObject<typeof common>>

const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_model.", encoder: "intern_vit", projectors: ["vision_projection."] })
const MIMO = [{ providers: [GPT], components: COMPONENTS }]

type NameStyle = "published" | "converted"

const layoutOf = (headers: HfHeaders, form: NameStyle) => {
  const names = form === "published" ? WRAPPED_NAMES[0] : generationOf(headers, WRAPPED_NAMES)
  return { ...names, experts: expertLayout(headers, names.model) }
}

const describe = (c: Config, t: Text, { experts, head, model, outer }: ReturnType<typeof layoutOf>, form: NameStyle): FamilyDescription => {
  const { vision_config: v } = c
  const language = languageOf(t)
  const biases = language.biases(t)
  const [embedding, lmHead] = language.frame ?? ["embed_tokens", "lm_head"]
  const merge = Math.round(1 / c.downsample_ratio)
  // The class of the converted form ties by default.
  const tc = transformerOf(t, { share_embeddings_and_output_weights: tiedOf({ ...c, text_config: t }, form === "converted"), ...biasFields(biases), ...language.change(t) })
  return multimodalModel({
    tc,
    names: { megatron: "language_model.", model, head },
    table: withZeroBiases(language.table(tc, experts), biases),
    ...(language.allBiases ?? (() => zeroBiases(biases)))(t, form === "published" ? "llm_config." : "text_config."),
    vocabulary: { embedding: `${model}${embedding}.weight`, head: `${head}${lmHead}.weight`, tied: tc.share_embeddings_and_output_weights },
    towers: [
      scaledVision("vision_model", v, merge),
      normedProjector("vision_projection", v.hidden_size * merge ** 2, t.hidden_size)
    ],
    rows: [
      ...(form === "published" ? publishedScaledVision : convertedScaledVision(outer)),
      ...rows("language_model.", "", { "embedding.word_embeddings.weight": `${model}${embedding}.weight`, "output_layer.weight": `${head}${lmHead}.weight` })
    ],
    provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...(tc.num_moe_experts ? GROUPED : {}) }),
    forward: forwardOf(t, language.forward?.(t)),
    components: COMPONENTS,
    // A mask token of the encoder's pretraining, a norm behind its last layer: no part of the multimodal model's forward pass.
    carried: ["embeddings.mask_token", "layernorm.weight", "layernorm.bias"].map((name) => ({ pattern: `${outer}vision_tower.${name}`, why: "of the encoder's pretraining; the multimodal model does not use it" }))
  })
}

export const internVlChat = family({
  name: "internvl",
  architectures: ["InternVLChatModel"],
  mimo: MIMO,
  config: () => z.looseObject({ ...common, llm_config: text }),
  layout: (_, headers) => layoutOf(headers, "published"),
  describe: (c, layout) => describe(c, c.llm_config, layout, "published")
})

export const internVl = family({
  name: "internvl-converted",
  architectures: ["InternVLForConditionalGeneration"],
  mimo: MIMO,
  config: () => z.looseObject({ ...common, text_config: text }),
  layout: (_, headers) => layoutOf(headers, "converted"),
  describe: (c, layout) => describe(c, c.text_config, layout, "converted")
})
