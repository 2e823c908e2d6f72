/** EXAONE 4.5: an EXAONE 4 language model behind a vision transformer with grouped-query attention; optional MTP. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { transformerLayer } from "../src/model/gpt.ts"
import type { Scope } from "../src/model/Scope.ts"
import { NO_PLACE, refuseBiases } from "./shared/biases.ts"
import { afterNorms, attention, denseMlp, fcMtp, qkNorm } from "./shared/blocks.ts"
import { count, many, positions, size } from "./shared/config.ts"
import { hfConfig, whole, wholeVision } from "./shared/hfConfig.ts"
import { commonOf, denseFields, dtypeOf, extraOf, transformerOf } from "./shared/llama.ts"
import { languageAnd, multimodalModel, tiedOf, tokenIds, visionTokens } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { ropeFactorFields } from "./shared/ropeScaling.ts"
import { slidingPattern, slidingTypes } from "./shared/slidingTypes.ts"
import { groupedVision, groupedVisionFields, groupedVisionRows } from "./shared/towers/groupedVision.ts"

const NAMES = { megatron: "language_model.", model: "model.language_model.", head: "" }

const PROVIDER = "megatron.bridge.models.exaone.exaone45.exaone45_provider.Exaone45ModelProvider"
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_model.", encoder: "exaone_visual" })

export const exaone4_5 = family({
  name: "exaone-4.5",
  architectures: ["Exaone4_5_ForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: () => z.looseObject({
    text_config: z.looseObject({
      ...denseFields,
      ...positions(2048),
      num_key_value_heads: size.nullable().default(32),
      rms_norm_eps: z.number().default(1e-5),
      layer_types: z.array(z.string()).nullish(),
      sliding_window_pattern: slidingPattern,
      sliding_window: size.nullable().default(4096),
      num_nextn_predict_layers: many.nullish(),
      mtp_share_layers: z.boolean().nullish(),
      mtp_loss_scaling_factor: z.number().nullish()
    }),
    vision_config: z.looseObject(groupedVisionFields),
    tie_word_embeddings: z.boolean().nullish(),
    vision_token_id: count.nullish(),
    ...visionTokens
  }),
  describe: (c) => {
    const { text_config: t, vision_config: v } = c
    refuseBiases(t, ["attention_bias"], NO_PLACE.normedOutput)
    const modules = t.num_nextn_predict_layers ?? 0
    const tc = transformerOf(t, {
      qk_layernorm: true,
      share_embeddings_and_output_weights: tiedOf(c),
      // All dense; a list, however, keeps the layer numbers in the stored keys.
      moe_layer_freq: Array.from({ length: t.num_hidden_layers }, () => 0),
      // Repeated, one module stands for all.
      mtp_num_layers: t.mtp_share_layers ? Math.min(1, modules) : modules
    })
    const layer = (s: Scope) => transformerLayer(s, tc, { linearAttention: false, moe: false }, { norms: "after" })
    const table = { ...attention, ...qkNorm, ...denseMlp, ...afterNorms }
    const types = slidingTypes(t)
    const sliding = types.map((kind) => kind === "sliding_attention")
    return multimodalModel({
      tc,
      names: NAMES,
      table,
      towers: [groupedVision("vision_model", v)],
      gpt: { layer, mtpLayer: layer },
      rows: [
        ...groupedVisionRows("vision_model.", "model.visual."),
        ...fcMtp(tc.mtp_num_layers ?? 0, table, "text_config.num_nextn_predict_layers", "language_model.")
      ],
      provider: gptProvider(PROVIDER, tc, commonOf(t), {
        ...extraOf(t),
        ...tokenIds(c),
        ...(typeof c.vision_token_id === "number" ? { vision_token_id: c.vision_token_id } : {}),
        ...(modules > 0
          ? { mtp_num_layers: modules, mtp_use_repeated_layer: t.mtp_share_layers ?? false, mtp_loss_scaling_factor: float(t.mtp_loss_scaling_factor ?? 0.1) }
          : {}),
        no_rope_freq: sliding.map((s) => (s ? 0 : 1)),
        window_attn_skip_freq: sliding.map((s) => (s ? 1 : 0)),
        ...(sliding.includes(true) && t.sliding_window ? { window_size: [t.sliding_window - 1, 0] } : {}),
        rope_scaling_factor: null,
        ...ropeFactorFields(t),
        hf_text_config: hfConfig("exaone4.configuration_exaone4.Exaone4Config", { ...whole(t), model_type: "exaone4", layer_types: types }),
        vision_config: hfConfig("exaone4_5.configuration_exaone4_5.Exaone4_5_VisionConfig", { ...wholeVision(v), dtype: dtypeOf(t) })
      }, { refuses: ["padded-vocabulary"] }),
      components: COMPONENTS,
      mtpFields: ["text_config.num_nextn_predict_layers"]
    })
  }
})
