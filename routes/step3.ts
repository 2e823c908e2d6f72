/** Step-3.5, and Step-3.7 with its vision tower. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { rows } from "../src/bridge/Registry.ts"
import { gpt } from "../src/model/gpt.ts"
import { plainLayer } from "../src/model/plain.ts"
import { Scope } from "../src/model/Scope.ts"
import { count } from "./shared/config.ts"
import { commonOf } from "./shared/llama.ts"
import { languageBelow } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { type StepConfig, stepFields, stepRope, stepText } from "./shared/stepText.ts"
import { perceptionEncoder, perceptionFields, widthOf } from "./shared/towers/perceptionEncoder.ts"

const STEPFUN = "megatron.bridge.models.stepfun"

const common = (t: StepConfig) => commonOf({ ...t, rope_theta: stepRope(t).first })

export const step3p5 = family({
  name: "step-3.5",
  architectures: ["Step3p5ForCausalLM"],
  config: z.looseObject(stepFields),
  describe: (t, headers) => {
    const text = stepText(t, headers, false)
    return {
      model: Scope.collect((root) => gpt(root, text.tc, text.options)),
      rows: text.rows,
      provider: gptProvider(`${STEPFUN}.step35_provider.Step35ModelProvider`, text.tc, common(t), text.fields),
      components: [],
      carried: text.carried,
      mtpFields: ["num_nextn_predict_layers"]
    }
  }
})

const PROVIDER = `${STEPFUN}.step37_provider.Step37ModelProvider`
const COMPONENTS = languageBelow("language_model.", {
  name: "images",
  sourcePrefix: "vision_model.",
  encoder: "step_visual",
  projectors: ["image_insert_embedding."]
})

export const step3p7 = family({
  name: "step-3.7",
  architectures: ["Step3p7ForConditionalGeneration"],
  mimo: [{ providers: [PROVIDER], components: COMPONENTS }],
  config: z.looseObject({
    text_config: z.looseObject(stepFields),
    vision_config: z.looseObject(perceptionFields),
    projector_bias: z.boolean().nullish(),
    image_token_id: count.nullish()
  }),
  describe: (c, headers) => {
    const t = c.text_config
    const text = stepText(t, headers, true, "language_model.")
    return {
      model: Scope.collect((root) => {
        perceptionEncoder(root.at("vision_model"), c.vision_config)
        gpt(root.at("language_model"), text.tc, text.options)
        plainLayer(root, "image_insert_embedding.align_projector", [t.hidden_size, 4 * widthOf(c.vision_config)], c.projector_bias ?? false)
      }),
      rows: [
        ...text.rows,
        ...rows("", "", { "vision_model.**": "vision_model.**", "image_insert_embedding.align_projector.**": "vit_large_projector.**" })
      ],
      provider: gptProvider(PROVIDER, text.tc, common(t), {
        ...text.fields,
        image_token_id: c.image_token_id ?? undefined,
        projector_bias: c.projector_bias ?? false,
        language_max_sequence_length: t.max_position_embeddings ?? undefined
      }, { refuses: ["padded-vocabulary"] }),
      components: COMPONENTS,
      carried: text.carried,
      mtpFields: ["text_config.num_nextn_predict_layers"]
    }
  }
})
