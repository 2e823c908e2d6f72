/**
 * LLaVA 1.5, NeXT and OneVision as transformers has them: a language model of its own family behind a CLIP, SigLIP or Pixtral tower, of
 * which it takes an inner layer's output, and a projector of two layers. The MIMO form is that of the reference's examples.
 */
import { z } from "zod"
import { family, type FamilyDescription, type HfHeaders } from "../src/bridge/Family.ts"
import { type PublisherForm, publisherForm } from "../src/bridge/PublisherForm.ts"
import { rows } from "../src/bridge/Registry.ts"
import { FormatError, quote } from "../src/errors.ts"
import { layeredProjector } from "../src/model/positionVision.ts"
import { biasFields, flaggedBiases, flaggedZeroBiases, type LinearBiases, withZeroBiases } from "./shared/biases.ts"
import { attention, denseMlp, mlpBiases } from "./shared/blocks.ts"
import { count } from "./shared/config.ts"
import { assumedOf, textFieldsOf, textParams, textTensors, TOWER_ASSUMED, towerFieldsOf, towerParams, towerTensors } from "./shared/consolidated.ts"
import { forwardOf } from "./shared/forward.ts"
import { commonOf, denseFields, extraOf, transformerOf } from "./shared/llama.ts"
import { generationOf, languageAnd, mirrored, multimodalModel, tiedOf, WRAPPED_NAMES } from "./shared/multimodal.ts"
import { gptProvider } from "./shared/provider.ts"
import { contrastCarried, contrastDefaults, type ContrastKind, contrastRows, contrastVision, contrastVisionFields, featureLayers, layersUpTo } from "./shared/towers/contrastVision.ts"
import { pixelVision } from "./shared/towers/pixelVision.ts"

type Fields = Readonly<Record<string, unknown>>

/** What the config classes of the language models have where a section says nothing. */
export const LANGUAGES: Readonly<Record<string, Fields>> = {
  llama: { vocab_size: 32_000, hidden_size: 4096, intermediate_size: 11_008, num_hidden_layers: 32, num_attention_heads: 32, max_position_embeddings: 2048 },
  mistral: { vocab_size: 32_000, hidden_size: 4096, intermediate_size: 14_336, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 8, max_position_embeddings: 131_072 },
  qwen2: { vocab_size: 151_936, hidden_size: 4096, intermediate_size: 22_016, num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 32, max_position_embeddings: 32_768 }
}

const NO_BIAS: LinearBiases = { qkv: false, output: false, mlp: false }

const TOWERS: Readonly<Record<string, ContrastKind | "pixtral">> = { clip_vision_model: "clip", siglip_vision_model: "siglip", pixtral: "pixtral" }
const PIXTRAL = { hidden_size: 1024, intermediate_size: 4096, num_hidden_layers: 24, num_attention_heads: 16, image_size: 1024, patch_size: 16 }

/** A section with what the class of its `model_type` has where it says nothing. */
const ofType = <T>(absent: string, defaultsOf: (type: string) => Fields | undefined, schema: z.ZodType<T>): z.ZodType<T> => z.preprocess((section) => {
  if (typeof section !== "object" || section === null || Array.isArray(section)) return section
  const { model_type: said } = section as { readonly model_type?: unknown }
  const type = said ?? absent
  return { ...(typeof type === "string" ? defaultsOf(type) : {}), ...section, model_type: type }
}, schema)

const text = ofType("llama", (type) => (Object.hasOwn(LANGUAGES, type) ? LANGUAGES[type] : undefined), z.looseObject({ ...denseFields, model_type: z.string() }))

const vision = (absent: string) => ofType(absent, (type) => {
  const kind = Object.hasOwn(TOWERS, type) ? TOWERS[type]! : undefined
  return kind === "pixtral" ? PIXTRAL : kind && contrastDefaults[kind]
}, z.looseObject({ ...contrastVisionFields, model_type: z.string() }))

const schema = (features: z.infer<typeof featureLayers>, tower: string) => z.looseObject({
  text_config: text,
  vision_config: vision(tower),
  vision_feature_layer: featureLayers.default(features),
  vision_feature_select_strategy: z.enum(["default", "full"]).nullish(),
  multimodal_projector_bias: z.boolean().default(true),
  projector_hidden_act: z.string().default("gelu"),
  image_token_index: count.nullish(),
  image_token_id: count.nullish(),
  tie_word_embeddings: z.boolean().nullish()
})
type Config = z.infer<ReturnType<typeof schema>>

/** The class of the standard form; no provider of the reference builds it. */
const MODEL = "megatron.core.models.multimodal.llava_model.LLaVAModel"
const componentsOf = (encoder: string) => languageAnd({ name: "images", sourcePrefix: "vision_model.", encoder, projectors: ["vision_projection."] })
const MIMO = ["clip", "siglip", "pixtral"].map((encoder) => ({ providers: [MODEL], components: componentsOf(encoder) }))

const layoutOf = (headers: HfHeaders) => {
  const names = generationOf(headers, WRAPPED_NAMES)
  const tower = `${names.outer}vision_tower.`
  // transformers 5 leaves a level out.
  const flat = headers.names.some((name) => name.startsWith(`${tower}embeddings.`) || name.startsWith(`${tower}encoder.`))
  return { ...names, tower: flat ? tower : `${tower}vision_model.` }
}

const describe = (c: Config, { head, model, outer, tower }: ReturnType<typeof layoutOf>): FamilyDescription => {
  const { text_config: t, vision_config } = c
  const kind = Object.hasOwn(TOWERS, vision_config.model_type) ? TOWERS[vision_config.model_type] : undefined
  if (!kind) throw new FormatError("config/vision-model", `unknown vision tower ${quote(vision_config.model_type)}; known: ${Object.keys(TOWERS).join(", ")}`, { field: "vision_config.model_type" })
  if (!Object.hasOwn(LANGUAGES, t.model_type)) {
    throw new FormatError("config/language-model", `unknown language model ${quote(t.model_type)}; known: ${Object.keys(LANGUAGES).join(", ")}`, { field: "text_config.model_type" })
  }
  const biases = t.model_type === "llama" ? flaggedBiases(t) : { ...NO_BIAS, qkv: t.model_type === "qwen2" }
  const tc = transformerOf(t, { share_embeddings_and_output_weights: tiedOf(c), ...biasFields(biases) })
  const images = kind === "pixtral" ? mirroredTower(c, outer) : contrastTower(c, kind, tower)
  const width = images.width * [c.vision_feature_layer].flat().length
  return multimodalModel({
    tc,
    names: { megatron: "language_model.", model, head },
    table: withZeroBiases({ ...attention, ...denseMlp, ...mlpBiases }, biases),
    towers: [
      images.module,
      layeredProjector("vision_projection", { input: width, hidden: t.hidden_size, output: t.hidden_size }, { bias: c.multimodal_projector_bias })
    ],
    rows: [
      ...images.rows,
      ...rows("vision_projection.encoder.", `${outer}multi_modal_projector.`, {
        "linear_fc1.weight": "linear_1.weight",
        "linear_fc1.bias": "linear_1.bias",
        "linear_fc2.weight": "linear_2.weight",
        "linear_fc2.bias": "linear_2.bias"
      })
    ],
    provider: gptProvider(MODEL, tc, commonOf(t), extraOf(t)),
    forward: forwardOf(t),
    components: componentsOf(kind),
    carried: [
      ...images.carried,
      { pattern: `${outer}image_newline`, why: "marks the ends of rows of an image; the trainer's model has no place for it" }
    ],
    notes: [...images.notes, ...(Array.isArray(c.vision_feature_layer) && c.vision_feature_layer.length > 1 ? ["the projector takes the outputs of several layers of the tower side by side; the trainer's tower hands on its last one"] : [])],
    ...(t.model_type === "llama" ? flaggedZeroBiases(t, "text_config.") : {})
  })
}

const mirroredTower = ({ vision_config: v }: Config, outer: string) =>
  ({ module: pixelVision("vision_model", v), width: v.hidden_size, rows: mirrored("vision_model.", `${outer}vision_tower.`), carried: [], notes: [] })

const contrastTower = ({ vision_config: v, vision_feature_layer, vision_feature_select_strategy: strategy }: Config, kind: ContrastKind, tower: string) => {
  const layers = layersUpTo(v.num_hidden_layers, vision_feature_layer)
  return {
    module: contrastVision("vision_model", v, kind, layers),
    width: v.hidden_size,
    rows: contrastRows("vision_model.", tower, v, kind),
    carried: contrastCarried(tower, v, kind, layers),
    notes: kind === "clip"
      ? strategy === "full" ? [] : ["the class token is a position of the tower's output, which the model leaves out (vision_feature_select_strategy): the trainer's script has to drop it"]
      : ["Megatron-Core's tower normalises its output (ln_post); this model takes it before that norm: the trainer's script has to leave it out"]
  }
}

/** What differs among the classes are defaults; the tower of a config without a section is the class's. */
const llavaFamily = (name: string, architectures: ReadonlyArray<string>, features: number, tower = "clip_vision_model", publisher: ReadonlyArray<PublisherForm> = []) => family({
  name,
  architectures,
  mimo: MIMO,
  config: () => schema(features, tower),
  layout: (_, headers) => layoutOf(headers),
  describe,
  publisher
})

/** Positions as transformers' script writes for Pixtral 12B, whose params.json does not say them. */
const POSITIONS = 1_024_000

const published = z.strictObject({ ...textParams, vision_encoder: towerParams })

/** Pixtral in its publisher's form: images whose patches are not merged, in front of a dense language model. */
const pixtral = publisherForm({
  applies: (p) => {
    const { vision_encoder: v } = p
    return typeof v === "object" && v !== null && !("spatial_merge_size" in v) && ["moe", "multimodal", "yarn", "llama_4_scaling", "quantization", "qk_nope_head_dim"].every((field) => !(field in p))
  },
  params: published,
  config: (p) => ({
    architecture: "LlavaForConditionalGeneration",
    config: {
      model_type: "llava",
      image_token_index: p.vision_encoder.image_token_id,
      multimodal_projector_bias: p.vision_encoder.adapter_bias,
      projector_hidden_act: "gelu",
      vision_feature_layer: -1,
      vision_feature_select_strategy: "full",
      tie_word_embeddings: p.tied_embeddings,
      text_config: { model_type: "mistral", ...textFieldsOf(p, POSITIONS), sliding_window: null, hidden_act: "silu" },
      vision_config: towerFieldsOf(p.vision_encoder)
    },
    assumed: [...assumedOf(p, POSITIONS), TOWER_ASSUMED]
  }),
  tensors: [...textTensors<z.infer<typeof published>>("language_model.model.", "language_model."), ...towerTensors<z.infer<typeof published>>("")]
})

export const llava = llavaFamily("llava", ["LlavaForConditionalGeneration", "LlavaNextForConditionalGeneration"], -2, "clip_vision_model", [pixtral])
export const llavaOnevision = llavaFamily("llava-onevision", ["LlavaOnevisionForConditionalGeneration"], -1, "siglip_vision_model")
