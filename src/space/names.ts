/**
 * What the names of tensors say by themselves, in both worlds: component, layer, module. Rules of names only; nothing here
 * knows a model family.
 */
import { stackedLayer } from "../model/layerKeys.ts"
import { modalityOf } from "../model/storedKey.ts"

/** First segments of a standard or Hugging Face name → component. Ordered: the first match wins. */
const COMPONENTS: ReadonlyArray<readonly [RegExp, string]> = [
  [/^hf_source\./, "hf_source"],
  [/^(model\.|thinker\.)*(visual|vision_model|vision_tower|vision_encoder|vision_projection|image_newline|multi_modal_projector|mm_projector|embed_vision)\b/, "vision"],
  [/^(model\.|thinker\.)*(audio_tower|audio_model|audio_encoder|audio|embed_audio)\b/, "audio"],
  [/^(model\.)?(language_model|text_model|thinker)\b/, "language"],
  [/^(talker|token2wav|code2wav)\b/, "speech"]
]

/** Component that a name says it belongs to; undefined where it says nothing (`model.layers.…`, `lm_head.weight`). */
const namedComponent = (name: string): string | undefined =>
  modalityOf(name) ?? COMPONENTS.find(([pattern]) => pattern.test(name))?.[1]

/**
 * Component of each tensor. Names without any sign of one belong to the language model where other components exist, else
 * to the `model`. `known`: what a model family says, which goes first.
 */
export const componentsOf = (
  names: Iterable<string>,
  known: (name: string) => string | undefined = () => undefined
): ((name: string) => string) => {
  // Names differ mostly in their numbers.
  const masked = new Map<string, string | undefined>()
  const find = (name: string): string | undefined => {
    const mask = name.replace(/\d+/g, "0")
    if (!masked.has(mask)) masked.set(mask, known(name) ?? namedComponent(name))
    return masked.get(mask)
  }
  let plain = "model"
  for (const name of names) {
    const found = find(name)
    if (found !== undefined && found !== "hf_source") {
      plain = "language"
      break
    }
  }
  return (name) => find(name) ?? plain
}

const LAYER = /^(.*?\b(?:layers|blocks|layer|block|h))\.(\d+)\./

export interface LayerOf {
  /** Path of the layer list, e.g. `language_model.decoder.layers`. */
  readonly stack: string
  /** Number in the name; undefined where all layers are stored under one key, axis 0 being the layer. */
  readonly index?: number
}

/** Which layer a tensor belongs to; undefined for embeddings, norms, heads. */
export const layerOf = (name: string): LayerOf | undefined => {
  const indexed = LAYER.exec(name)
  if (indexed) return { stack: indexed[1]!, index: Number(indexed[2]) }
  const stacked = stackedLayer(name)
  return stacked && { stack: stacked.list }
}

/** Multi-token prediction. Some checkpoints keep it as layers beyond the last one; `layers` is the number of the others. */
export const isMtp = (name: string, layers?: number): boolean => {
  if (/(^|\.)mtp(_layers)?\./.test(name)) return true
  const layer = layers === undefined ? undefined : /^(?:model\.|language_model\.)*layers\.(\d+)\./.exec(name)
  return layer !== null && layer !== undefined && Number(layer[1]) >= layers!
}

/** `lm_head.weight` or `output_layer.weight`. */
export const isHead = (name: string): boolean => /(^|\.)(lm_head|output_layer)\.weight$/.test(name)

/** The table of token embeddings of the language model. */
export const isEmbedding = (name: string): boolean => /(^|\.)(embed_tokens|word_embeddings|wte|embeddings)\.weight$/.test(name)

/** Scales and zero points that go with quantised weights, and packed weights. */
export const isQuantisation = (name: string): boolean =>
  /(_scale_inv|_scales?|\.scales|_zero_point|\.qzeros|\.qweight|_packed|_blocks|\.g_idx|activation_scale|input_scale)$/.test(name)
