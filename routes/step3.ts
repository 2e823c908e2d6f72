/** Step-3.5, and Step-3.7 with its vision tower. */
import { z } from "zod"
import { family } from "../src/bridge/Family.ts"
import { pythonObject } from "../src/runconfig/Provider.ts"
import { rows } from "../src/bridge/Registry.ts"
import { gpt } from "../src/model/gpt.ts"
import { count } from "./shared/config.ts"
import { section, whole } from "./shared/hfConfig.ts"
import { commonOf, vocabularyOf } from "./shared/llama.ts"
import { languageBelow } from "./shared/multimodal.ts"
import { linearProjector } from "./shared/projectors.ts"
import { gptProvider } from "./shared/provider.ts"
import { type StepConfig, stepFields, stepLayout, stepRope, stepText } from "./shared/stepText.ts"
import { perceptionEncoder, perceptionFields, splitQkv, widthOf } from "./shared/towers/perceptionEncoder.ts"

const STEPFUN = "megatron.bridge.models.stepfun"

const common = (t: StepConfig) => commonOf({ ...t, rope_theta: stepRope(t).first })

export const step3p5 = family({
  name: "step-3.5",
  architectures: ["Step3p5ForCausalLM"],
  config: () => z.looseObject(stepFields),
  layout: stepLayout,
  describe: (t, layout) => {
    const text = stepText(t, layout, false)
    return {
      modules: [{ kind: "language", path: "", config: text.tc, build: (s) => gpt(s, text.tc, text.options) }],
      rows: text.rows,
      provider: gptProvider(`${STEPFUN}.step35_provider.Step35ModelProvider`, text.tc, common(t), text.fields),
      carried: text.carried,
      vocabulary: vocabularyOf(text.tc),
      mtpFields: ["num_nextn_predict_layers"]
    }
  }
})

const vision = z.looseObject(perceptionFields)

/** The tower's section in the names that its config class reads. */
const towerOf = ({ heads, hidden_size, layers, num_attention_heads, num_hidden_layers, width, ...rest }: z.infer<typeof vision>) =>
  whole({ ...rest, width: width ?? hidden_size, layers: layers ?? num_hidden_layers, heads: heads ?? num_attention_heads })

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
  config: () => z.looseObject({
    text_config: z.looseObject(stepFields),
    vision_config: vision,
    projector_bias: z.boolean().nullish(),
    image_token_id: count.nullish()
  }),
  spellings: [
    ["^vision_model.", "^model.vision_model."],
    ["^vision_model.conv1.weight", "^vision_model.embeddings.patch_embedding.weight"],
    ["^vision_model.positional_embedding", "^vision_model.embeddings.position_embedding.weight"],
    ["^vision_model.transformer.resblocks.", "^vision_model.layers."],
    ["^vision_model.transformer.resblocks.*.attn.", "^vision_model.transformer.resblocks.*.self_attn."],
    ["^vision_model.ln_pre.", "^vision_model.pre_layernorm."],
    ["^vision_model.vit_downsampler", "^vision_model.downsampler"],
    [".ls_1.gamma", ".lambda_1"],
    [".ls_2.gamma", ".lambda_2"],
    [".ln_1.", ".layernorm_before."],
    [".ln_2.", ".layernorm_after."],
    [".mlp.c_fc.", ".mlp.fc1."],
    [".mlp.c_proj.", ".mlp.fc2."],
    ["^vit_large_projector.", "^model.multi_modal_projector."],
    ["^model.embed_tokens.", "^model.language_model.embed_tokens."],
    ["^model.layers.", "^model.language_model.layers."],
    ["^model.norm.", "^model.language_model.norm."],
    [".moe.router_bias", ".mlp.gate.e_score_correction_bias"],
    [".moe.gate.", ".mlp.gate."],
    [".moe.gate_up_proj.weight", ".mlp.experts.gate_up_proj"],
    [".moe.down_proj.weight", ".mlp.experts.down_proj"],
    [".share_expert.", ".mlp.shared_experts."]
  ],
  layout: (c, headers) => ({ ...stepLayout(c.text_config, headers), splitQkv: headers.names.some((name) => name.endsWith(".attn.q_proj.weight")) }),
  describe: (c, layout) => {
    const t = c.text_config
    const text = stepText(t, layout, true, "language_model.")
    return {
      modules: [
        perceptionEncoder("vision_model", c.vision_config),
        { kind: "language", path: "language_model", config: text.tc, build: (s) => gpt(s, text.tc, text.options) },
        linearProjector("image_insert_embedding", "align_projector", { input: 4 * widthOf(c.vision_config), output: t.hidden_size }, { bias: c.projector_bias ?? false })
      ],
      rows: [
        ...text.rows,
        ...(layout.splitQkv ? rows("vision_model.", "vision_model.", splitQkv(c.vision_config)) : []),
        ...rows("", "", { "vision_model.**": "vision_model.**", "image_insert_embedding.align_projector.**": "vit_large_projector.**" })
      ],
      provider: gptProvider(PROVIDER, text.tc, common(t), {
        ...text.fields,
        image_token_id: c.image_token_id ?? undefined,
        ...section(t, ["attention_other_setting"]),
        vision_config: pythonObject(`${STEPFUN}.configuration_step37.Step37VisionConfig`, towerOf(c.vision_config)),
        projector_bias: c.projector_bias ?? false,
        language_max_sequence_length: t.max_position_embeddings ?? undefined
      }, { refuses: ["padded-vocabulary"] }),
      components: COMPONENTS,
      carried: text.carried,
      vocabulary: vocabularyOf(text.tc),
      mtpFields: ["text_config.num_nextn_predict_layers"]
    }
  }
})
