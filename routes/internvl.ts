/**
 * InternVL: an InternViT tower and a projector before a language model of one of several families; as published, and as
 * transformers converts it. No class of the reference builds it; Megatron names follow its predecessor.
 */
import { z } from "zod"
import { gatedMlpOf } from "../src/bridge/kinds.ts"
import { family, type HfHeaders, type ModelDescription } from "../src/bridge/Family.ts"
import { rows, type Table } from "../src/bridge/Registry.ts"
import { FormatError, quote } from "../src/errors.ts"
import type { TransformerConfig } from "../src/model/TransformerConfig.ts"
import { attention, denseMlp, qkNorm } from "./shared/blocks.ts"
import { many, size } from "./shared/config.ts"
import { routedExperts } from "./shared/experts.ts"
import { carriedBiases, commonOf, extraOf, transformerOf } from "./shared/llama.ts"
import { GROUPED, moeFields, router, sparseMoe } from "./shared/moe.ts"
import { generationOf, languageAnd, multimodalModel, WRAPPED_NAMES } from "./shared/multimodal.ts"
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
  readonly table: (tc: TransformerConfig, headers: HfHeaders, model: string) => Table
  /** Its embedding and head, if they are not called `embed_tokens` and `lm_head`. */
  readonly frame?: readonly [embedding: string, head: string]
}

const dense = (change: Language["change"]): Language => ({ change, table: () => ({ ...attention, ...qkNorm, ...denseMlp }) })
const biased = dense((t) => ({ add_qkv_bias: t.attention_bias ?? false }))

const LANGUAGES: ReadonlyMap<string, Language> = new Map<string, Language>([
  ["llama", biased],
  ["mistral", biased],
  ["qwen2", dense(() => ({ add_qkv_bias: true }))],
  ["qwen3", dense((t) => ({ add_qkv_bias: t.attention_bias ?? false, qk_layernorm: true }))],
  ["qwen3_moe", {
    change: (t) => ({
      add_qkv_bias: t.attention_bias ?? false,
      qk_layernorm: true,
      ...sparseMoe(t)
    }),
    table: (tc, headers, model) => ({ ...attention, ...qkNorm, ...denseMlp, ...router("mlp.gate.weight"), ...routedExperts(tc, headers, { model }) })
  }],
  ["internlm2", {
    change: (t) => ({ add_qkv_bias: t.bias ?? false, add_bias_linear: t.bias ?? false }),
    table: () => ({
      "self_attention.linear_qkv.layer_norm_weight": "attention_norm.weight",
      // Its rows already stand group by group.
      "self_attention.linear_qkv.weight": "attention.wqkv.weight",
      "self_attention.linear_qkv.bias": "attention.wqkv.bias",
      "self_attention.linear_proj.weight": "attention.wo.weight",
      "self_attention.linear_proj.bias": "attention.wo.bias",
      "mlp.linear_fc1.layer_norm_weight": "ffn_norm.weight",
      "mlp.linear_fc1.weight": gatedMlpOf("feed_forward.{w1,w3}.weight"),
      "mlp.linear_fc1.bias": gatedMlpOf("feed_forward.{w1,w3}.bias"),
      "mlp.linear_fc2.weight": "feed_forward.w2.weight",
      "mlp.linear_fc2.bias": "feed_forward.w2.bias"
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

const describe = (c: Config, t: Text, headers: HfHeaders, form: "published" | "converted"): ModelDescription => {
  const { vision_config: v } = c
  const { head, model, outer } = form === "published" ? WRAPPED_NAMES[0] : generationOf(headers, WRAPPED_NAMES)
  const language = languageOf(t)
  const [own, above] = form === "published" ? [t, c] : [c, t]
  const tc = transformerOf(t, { share_embeddings_and_output_weights: own.tie_word_embeddings ?? above.tie_word_embeddings ?? false, ...language.change(t) })
  return multimodalModel({
    tc,
    names: { megatron: "language_model.", model, head },
    table: language.table(tc, headers, model),
    towers: (root) => {
      scaledVision(root.at("vision_model"), v)
      normedProjector(root.at("vision_projection"), v.hidden_size * Math.round(1 / c.downsample_ratio) ** 2, t.hidden_size)
    },
    rows: [
      ...(form === "published" ? publishedScaledVision : convertedScaledVision(outer)),
      ...(language.frame
        ? rows("language_model.", "", { "embedding.word_embeddings.weight": `${model}${language.frame[0]}.weight`, "output_layer.weight": `${head}${language.frame[1]}.weight` })
        : [])
    ],
    provider: gptProvider(GPT, tc, commonOf(t), { ...extraOf(t), ...(tc.num_moe_experts ? { ...GROUPED, moe_router_topk: t.num_experts_per_tok ?? 8 } : {}) }),
    components: COMPONENTS,
    carried: [
      ...carriedBiases({ attention_bias: t.model_type === "internlm2" || t.model_type === "qwen2" ? false : t.attention_bias, mlp_bias: false }, model),
      // A mask token of the encoder's pretraining, a norm behind its last layer: no part of the multimodal model's forward pass.
      ...["embeddings.mask_token", "layernorm.weight", "layernorm.bias"].map((name) => ({ pattern: `${outer}vision_tower.${name}` }))
    ]
  })
}

export const internVlChat = family({
  name: "internvl",
  architectures: ["InternVLChatModel"],
  mimo: MIMO,
  config: z.looseObject({ ...common, llm_config: text }),
  describe: (c, headers) => describe(c, c.llm_config, headers, "published")
})

export const internVl = family({
  name: "internvl-converted",
  architectures: ["InternVLForConditionalGeneration"],
  mimo: MIMO,
  config: z.looseObject({ ...common, text_config: text }),
  describe: (c, headers) => describe(c, c.text_config, headers, "converted")
})
