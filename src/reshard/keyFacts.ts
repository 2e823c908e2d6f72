/** What the keys and shapes of a checkpoint say of its model: where layers, experts and halves are, what is split, what lies on which stage. Pure. */
import { expertKey, indexedLayer, leadingAxes, stackedLayer } from "../model/layerKeys.ts"
import type { Stage } from "../model/Parameter.ts"
import { isFirstOfMlp, secondOfMlp, splitAxisOf } from "../model/splits.ts"
import { modalityOf } from "../model/storedKey.ts"
import type { ItemsPlace, SpaceTensor } from "../space/TensorSpace.ts"
import type { Shape } from "../tensor/Copy.ts"

/** How a tensor of the model, and every optimizer state of it, is cut. */
export interface CutRule {
  /** Axes for layers and experts in front of the tensor's own. */
  readonly layers: number | undefined
  readonly experts: number | undefined
  /** Of a tensor of one expert, which it is. */
  readonly expert: { readonly index: number; readonly of: number } | undefined
  /** Counted behind the axes for layers and experts. */
  readonly axis: number | undefined
  /** The first axis is two halves, each cut on its own. */
  readonly halves: boolean
  /** Rows need not be divisible among ranks: of the vocabulary. */
  readonly uneven: boolean
}

export interface Position {
  readonly stage: Stage
  readonly mtp?: true
  /** Belongs to a tower of a standard model, which is on the first stage as a whole. */
  readonly tower: boolean
}

const VOCABULARY = /(?:^|\.)(?:word_embeddings|output_layer)\.(?:weight|bias)$/
/** What stands at the root of a language model. */
const LANGUAGE_ROOT = /^(?:embedding|decoder|encoder|output_layer|mtp)\./

/** The axis along which a grid of chunks has several offsets, if it is one alone. */
const gridAxis = ({ place: { stored: { chunks } }, shape }: SpaceTensor<ItemsPlace>, lead: number): number | undefined => {
  const cut = shape.slice(lead).flatMap((_, axis) => (new Set(chunks.map((c) => c.offsets[axis + lead])).size > 1 ? [axis] : []))
  return cut.length === 1 ? cut[0] : undefined
}

export class KeyFacts {
  /** Model tensors, by the key without wrappers. */
  readonly #tensors: ReadonlyMap<string, SpaceTensor<ItemsPlace>>
  readonly #rules = new Map<string, CutRule>()
  /** Layers of a list, and experts of one. */
  readonly #layers = new Map<string, number>()
  readonly #experts = new Map<string, number>()
  readonly #languagePrefix: string

  constructor(tensors: ReadonlyMap<string, SpaceTensor<ItemsPlace>>) {
    this.#tensors = tensors
    for (const [key, { shape }] of tensors) {
      const layer = indexedLayer(key)
      const stacked = stackedLayer(key)
      if (layer) this.#grow(this.#layers, layer.list, layer.index + 1)
      else if (stacked && leadingAxes(key) > 0) this.#grow(this.#layers, stacked.list, shape[0] ?? 0)
      const expert = expertKey(key)
      if (expert?.expert !== undefined) this.#grow(this.#experts, expert.list, expert.expert + 1)
    }
    const embedding = [...tensors.keys()].find((key) => key.endsWith("embedding.word_embeddings.weight"))
    this.#languagePrefix = embedding?.slice(0, -"embedding.word_embeddings.weight".length) ?? ""
  }

  #grow(counts: Map<string, number>, list: string, count: number): void {
    counts.set(list, Math.max(counts.get(list) ?? 0, count))
  }

  /** Layers of the list that a key belongs to. */
  layersOf(list: string): number {
    return this.#layers.get(list) ?? 0
  }

  /** Experts of the list that a key belongs to. */
  expertsOf(list: string): number {
    return this.#experts.get(list) ?? 1
  }

  /** Has the model routed experts? */
  get hasExperts(): boolean {
    return [...this.#tensors.keys()].some((key) => expertKey(key) !== undefined)
  }

  /** Have the experts biases? */
  get expertsHaveVectors(): boolean {
    return [...this.#tensors.keys()].some((key) => expertKey(key) !== undefined && /\.bias(?:_[wv])?$/.test(key))
  }

  /** How the model tensor `key` is cut; the same for every optimizer state of it. */
  ruleOf(key: string): CutRule {
    let rule = this.#rules.get(key)
    if (!rule) this.#rules.set(key, rule = this.#made(key))
    return rule
  }

  #made(key: string): CutRule {
    const tensor = this.#tensors.get(key)
    const shape = tensor?.shape ?? []
    const lead = Math.min(leadingAxes(key), shape.length)
    const stacked = stackedLayer(key) !== undefined && lead > 0
    const own = shape.slice(lead)
    const halves = this.#isGated(key, own)
    const named = splitAxisOf(key)
    const axis = (named === "unknown" || named === undefined) && tensor && !halves ? gridAxis(tensor, lead) : named === "unknown" ? undefined : named
    const single = expertKey(key)
    return {
      layers: stacked ? shape[0]! : undefined,
      experts: lead > (stacked ? 1 : 0) ? shape[stacked ? 1 : 0]! : undefined,
      expert: single?.expert === undefined ? undefined : { index: single.expert, of: this.#experts.get(single.list)! },
      axis: axis !== undefined && axis < own.length ? axis : undefined,
      halves,
      uneven: VOCABULARY.test(key)
    }
  }

  /** By the matrix behind it, which has as many columns as a half has rows. */
  #isGated(key: string, own: Shape): boolean {
    const second = isFirstOfMlp(key) ? this.#tensors.get(secondOfMlp(key))?.shape : undefined
    return second !== undefined && own[0] === 2 * second.at(-1)!
  }

  /** Where in the pipeline of its component an entry of the model is, by its key without wrappers and shard. `layer`: of a stacked one. */
  positionOf(key: string, layer: number | undefined): Position {
    const tower = modalityOf(key) === undefined && this.#isTower(key)
    const indexed = indexedLayer(key)
    const list = indexed?.list ?? stackedLayer(key)?.list
    if (/(?:^|\.)mtp\./.test(key)) return { stage: "last", mtp: true, tower }
    if (list !== undefined && /(?:^|\.)decoder\.layers$/.test(list)) {
      return { stage: { layer: indexed?.index ?? layer ?? 0, of: this.layersOf(list) }, tower }
    }
    if (/(?:^|\.)decoder\.(?:final_layernorm|final_norm)\./.test(key)) return { stage: "norm", tower }
    return { stage: /(?:^|\.)(?:output_layer|input_projections|output_projections)\./.test(key) ? "last" : "first", tower }
  }

  #isTower(key: string): boolean {
    const prefix = this.#languagePrefix
    return prefix === "" ? !LANGUAGE_ROOT.test(key) : !key.startsWith(prefix)
  }
}
