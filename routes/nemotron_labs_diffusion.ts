/**
 * Nemotron-Labs diffusion models: Llama trained as a block diffusion model, published as text only (`encoder.*`) or as the
 * vision-language model it was trained from, whose language model alone Megatron has.
 */
import { z } from "zod"
import { type Carried, family } from "../src/bridge/Family.ts"
import { rows } from "../src/bridge/Registry.ts"
import { gpt } from "../src/model/gpt.ts"
import { attention, denseMlp } from "./shared/blocks.ts"
import { dtypeField, size } from "./shared/config.ts"
import { hfConfig, whole } from "./shared/hfConfig.ts"
import { commonOf, denseFields, dtypeOf, extraOf, transformerOf } from "./shared/llama.ts"
import { gptProvider } from "./shared/provider.ts"

const text = z.looseObject({ ...denseFields, num_key_value_heads: size.default(8), head_dim: size.default(128) })
const wrapper = z.looseObject({ text_config: text, dtype: dtypeField, torch_dtype: dtypeField })
const config = z.union([wrapper, text.extend({ text_config: z.undefined().optional() })])

/** What surrounds the language model: a vision transformer with gated MLPs and a projector that merges patches. */
const vision: ReadonlyArray<Carried> = [
  "vision_tower.patch_conv.weight",
  "vision_tower.ln_pre.weight",
  ...["attention_norm", "ffn_norm", "attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj", "feed_forward.gate_proj", "feed_forward.up_proj", "feed_forward.down_proj"]
    .map((name) => `vision_tower.transformer.layers.*.${name}.weight`),
  ...["norm", "patch_merger.merging_layer", "linear_1", "linear_2"].flatMap((name) => [`multi_modal_projector.${name}.weight`, `multi_modal_projector.${name}.bias`])
].map((pattern) => ({ pattern, why: "Megatron has the language model alone" }))

const TEXT = { model: "encoder.", head: "diffusion_head.weight", carried: [] }
const WRAPPED = { model: "language_model.model.", head: "language_model.lm_head.weight", carried: vision }

export const nemotronLabsDiffusion = family({
  name: "nemotron-labs-diffusion",
  architectures: ["NemotronLabsDiffusionModel"],
  config,
  describe: (c) => {
    const wrapped = c.text_config !== undefined
    const t = c.text_config === undefined ? c : { ...c.text_config, dtype: dtypeOf(c.text_config, c) }
    const { carried, head, model } = wrapped ? WRAPPED : TEXT
    const tc = transformerOf(t)
    return {
      modules: [{ kind: "language", path: "", config: tc, build: (s) => gpt(s, tc) }],
      rows: [
        ...rows("", "", {
          "embedding.word_embeddings.weight": `${model}embed_tokens.weight`,
          "decoder.final_layernorm.weight": `${model}norm.weight`,
          "output_layer.weight": head
        }),
        ...rows("decoder.layers.*.", `${model}layers.*.`, { ...attention, ...denseMlp })
      ],
      provider: gptProvider(
        "megatron.bridge.diffusion.models.nemotron_labs_diffusion.nemotron_labs_diffusion_provider.NemotronLabsDiffusionModelProvider",
        tc,
        // The class's own length: it makes a mask of it when it is built.
        { ...commonOf(t), seq_length: undefined },
        {
          ...extraOf(t),
          // Its attention turns queries and keys itself, by the settings of an HF config; the class of the model's repository cannot be named.
          position_embedding_type: "none",
          apply_llama4_style_query_key_layer_scaling: typeof (t.rope_parameters ?? {})["llama_4_scaling_beta"] === "number",
          hf_config: hfConfig("ministral3.configuration_ministral3.Ministral3Config", { ...whole(t), model_type: "ministral3" })
        }
      ),
      carried,
      vocabulary: { embedding: `${model}embed_tokens.weight`, head, tied: tc.share_embeddings_and_output_weights }
    }
  }
})
