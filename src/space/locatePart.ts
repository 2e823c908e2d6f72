/** Where the parts of a parameter are stored: a checkpoint may name or shape them otherwise than the model does. Pure. */
import type { LocatedPart } from "../checkpoint/LocatedPart.ts"
import { PlanRefused, quote } from "../errors.ts"
import { innermostLayer } from "../model/layerKeys.ts"
import type { StoredPart } from "../model/Parameter.ts"
import { shapesExplained } from "../recognise/instead.ts"
import { sameShape } from "../tensor/Copy.ts"
import type { ItemsPlace, SpaceTensor, TensorSpace } from "./TensorSpace.ts"

/**
 * Find where a part is stored. A checkpoint may have been written by another Megatron version or with other flags: layers under one stacked key or
 * one key each; the vocabulary padded. Returns undefined if the key is absent in every form; throws if the shape does not fit.
 */
export const locatePart = (
  key: string,
  part: StoredPart,
  ragged: boolean,
  { tensors }: TensorSpace<ItemsPlace>,
  where = "the checkpoint"
): LocatedPart | undefined => {
  const own = part.key === key ? part : { ...part, key }
  const form = tensors.has(key) ? own : otherLayerForm(own, tensors)
  const tensor = form && tensors.get(form.key)
  if (!tensor) return undefined
  if (sameShape(tensor.shape, form.shape)) return { part: form, tensor: tensor.place.stored }
  // Padded vocabularies have more rows; the model's own come first.
  const fits = ragged && tensor.shape.length === form.shape.length && tensor.shape.every((n, k) => (k === 0 ? n >= form.shape[k]! : n === form.shape[k]))
  if (!fits) {
    const hint = shapesExplained([{ name: form.key, implied: form.shape, stored: tensor.shape }])
    throw new PlanRefused({
      code: "plan/shape",
      problem: "a stored tensor contradicts config.json",
      names: [`${form.key} (config.json implies [${form.shape}], ${where} has [${tensor.shape}]${spot(tensor)})`],
      ...(hint === undefined ? {} : { hint })
    })
  }
  return { part: { ...form, shape: tensor.shape }, tensor: tensor.place.stored }
}

/** Where a tensor begins. */
const spot = ({ place: { stored: { chunks: [first] } } }: SpaceTensor<ItemsPlace>): string => (first === undefined ? "" : ` in ${quote(first.file)}, byte ${first.offset}`)

/** Of every stack of layers, by the key in front of the layer (`decoder.layers`): has each layer keys of its own? */
export const layerForms = (keys: Iterable<string>): ReadonlyMap<string, "indexed" | "stacked"> => {
  const forms = new Map<string, "indexed" | "stacked">()
  for (const key of keys) {
    const layer = innermostLayer(key)
    if (layer) forms.set(layer.list, layer.index === undefined ? "stacked" : "indexed")
  }
  return forms
}

/** The key of a part as a checkpoint of these forms would have it. */
export const keyInForm = (key: string, part: StoredPart, forms: ReadonlyMap<string, "indexed" | "stacked">): string => {
  const layer = innermostLayer(key)
  if (!layer) return key
  const { index, list, rest } = layer
  const form = forms.get(list)
  if (form === "indexed" && index === undefined) return `${list}.${part.at[0]}.${rest}`
  return form === "stacked" && index !== undefined ? `${list}.${rest}` : key
}

const otherLayerForm = (part: StoredPart, tensors: TensorSpace<ItemsPlace>["tensors"]): StoredPart | undefined => {
  const { at, key, shape } = part
  const layer = innermostLayer(key)
  if (!layer) return undefined
  const { index, list, rest } = layer
  if (index === undefined) return { ...part, key: `${list}.${at[0]}.${rest}`, shape: shape.slice(1), at: at.slice(1) }
  const stacked = `${list}.${rest}`
  const count = tensors.get(stacked)?.shape[0]
  return count === undefined || index >= count ? undefined : { ...part, key: stacked, shape: [count, ...shape], at: [index, ...at] }
}
