/** Kimi K2.5: Kimi K2 with a vision tower and projector that the trainer takes over as they are. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { float } from "../src/runconfig/Provider.ts"
import { appendedMtp } from "./shared/appendedMtp.ts"
import { count, defaulted, dtypeField } from "./shared/config.ts"
import { HYBRID_DISPATCH } from "./shared/fusions.ts"
import { hfConfig, wholeVision } from "./shared/hfConfig.ts"
import { kimiK2Extra } from "./shared/kimi.ts"
import { commonOf, dtypeOf } from "./shared/llama.ts"
import { latentMoeExtra, latentMoeFields, latentMoeLayer, latentMoeTransformer } from "./shared/mla.ts"
import { languageAnd, mirrored, multimodalModel, vocabularyMarks } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { textLayout } from "./shared/textLayout.ts"
import { moonProjector, moonVision, moonVisionFields } from "./shared/towers/moonVision.ts"

const names = { megatron: "language_model.", model: "language_model.model.", head: "language_model." }

const PROVIDER = "megatron.bridge.models.kimi_vl.kimi_k25_vl_provider.KimiK25VLModelProvider"
const COMPONENTS = languageAnd({ name: "images", sourcePrefix: "vision_tower.", encoder: "moonvit", projectors: ["mm_projector."] })

export const kimiK2_5 = family({
  name: "kimi-k2.5",
  architectures: ["KimiK25ForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: () => z.looseObject({
    text_config: defaulted({ n_group: 8, topk_group: 4, routed_scaling_factor: 2.5, first_k_dense_replace: 3 }, z.looseObject(latentMoeFields)),
    vision_config: z.looseObject(moonVisionFields),
    dtype: dtypeField,
    torch_dtype: dtypeField,
    media_placeholder_token_id: count.nullish(),
    image_token_id: count.nullish(),
    pad_token_id: count.nullish(),
    ignore_index: z.int().nullish()
  }),
  layout: (c, headers) => textLayout(c.text_config, headers, names.model),
  describe: (c, { experts, modules }) => {
    const t = c.text_config
    const tc = latentMoeTransformer(t, 1, { moe_router_enable_expert_bias: true, mtp_num_layers: modules })
    const table = latentMoeLayer(tc, experts)
    const mtp = appendedMtp({
      megatron: names.megatron,
      model: names.model,
      mainHead: `${names.head}lm_head.weight`,
      layers: t.num_hidden_layers,
      modules,
      table
    })
    const image = c.media_placeholder_token_id ?? c.image_token_id ?? undefined
    return multimodalModel({
      tc,
      names,
      table,
      towers: [moonVision("vision_tower", c.vision_config), moonProjector("mm_projector", c.vision_config, tc.hidden_size)],
      rows: [...mirrored("vision_tower.", "vision_tower."), ...mirrored("mm_projector.", "mm_projector."), ...mtp.rows],
      provider: gptProvider(PROVIDER, tc, { ...commonOf(t), dtype: dtypeOf(t, c) }, {
        ...latentMoeExtra(t),
        ...kimiK2Extra,
        ...HYBRID_DISPATCH,
        ...vocabularyMarks(t, { bos_token_id: 0, eos_token_id: 1 }),
        moe_router_score_function: "sigmoid",
        mtp_num_layers: modules,
        moe_router_topk_scaling_factor: t.routed_scaling_factor ?? float(2.827),
        vision_config: hfConfig("kimi_k25.configuration_kimi_k25.Kimi_K25VisionConfig", wholeVision(c.vision_config)),
        image_token_id: image,
        media_placeholder_token_id: image,
        pad_token_id: c.pad_token_id ?? undefined,
        ignore_index: c.ignore_index ?? undefined
      }),
      components: COMPONENTS,
      carried: mtp.carried,
      mtpFields: ["text_config.num_nextn_predict_layers"]
    })
  }
})
