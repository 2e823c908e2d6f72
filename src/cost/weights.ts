/**
 * The parameters of a model, summed by what they belong to: component, kind of module, pipeline stage. From these sums follow the
 * multiply-adds of every matrix and what each rank holds; nothing is counted by a formula that could miss a family's own modules.
 */
import type { ModelDescription } from "../bridge/Family.ts"
import { componentOf, type Form } from "../mimo/routing.ts"
import type { Block, PlacedBlock } from "../model/Block.ts"
import type { ModelModule } from "../model/ModelModule.ts"
import type { Parameter, Stage } from "../model/Parameter.ts"
import { STANDARD_COMPONENT } from "../parallel/Layout.ts"
import { volume } from "../tensor/Copy.ts"

export type ModelPart =
  | "attention" | "latent attention" | "linear attention" | "mamba" | "mlp" | "experts" | "shared experts" | "router"
  | "vocabulary" | "multi-token prediction" | "patch embedding" | "merger" | "projector" | "tower" | "classifier" | "other"

/** What a matrix is multiplied with: a token of the language model, a patch of an image, a token that a tower hands on, a frame of audio. */
export type InputUnit = "token" | "patch" | "merged" | "frame"

/** Parameters of one kind in one place. Counts are elements. */
export interface WeightGroup {
  /** Component of the layout; `model` in the standard form. */
  readonly component: string
  readonly module: ModelModule["kind"]
  readonly part: ModelPart
  readonly stage: Stage
  readonly unit: InputUnit
  /** Routed experts: expert parallelism divides them. */
  readonly routed: boolean
  /** Elements that tensor parallelism divides (for experts, expert tensor parallelism). */
  sharded: number
  /** Elements that every tensor-parallel rank holds. */
  replicated: number
  /** Of {@link sharded}: rows of keys and values, which ranks share where there are more of them than groups; by number of groups. */
  readonly shared: Map<number, number>
  /** Multiply-adds per {@link unit}. */
  multiplyAdds: number
  /** Rows (or columns) that are cut: each must divide. */
  readonly extents: Set<number>
}

/** Matrices over the vocabulary, which a trainer may pad. */
export interface VocabularySize {
  readonly rows: number
  readonly width: number
  readonly tied: boolean
}

const PART_OF: Readonly<Record<Block["kind"], ModelPart>> = {
  attention: "attention",
  "latent-attention": "latent attention",
  "gated-delta-net": "linear attention",
  "channel-delta-attention": "linear attention",
  "lightning-attention": "linear attention",
  "compressed-attention": "attention",
  mamba: "mamba",
  linear: "attention",
  mlp: "mlp",
  experts: "experts"
}

/** The block that a parameter belongs to: the innermost whose path its name begins with. */
const blockFinder = (blocks: ReadonlyArray<PlacedBlock>) => {
  const byPath = new Map(blocks.map((placed) => [placed.path, placed.block]))
  return (name: string): Block | undefined => {
    for (let dot = name.lastIndexOf("."); dot > 0; dot = name.lastIndexOf(".", dot - 1)) {
      const found = byPath.get(name.slice(0, dot + 1))
      if (found !== undefined) return found
    }
    return undefined
  }
}

/** Looked up or added, never multiplied. */
const isTable = ({ integer, name, ragged }: Parameter): boolean =>
  integer === true || ragged === true || /(?:^|\.)(?:pos(?:ition)?_emb\w*|position_embeddings?|absolute_pos\w*|ape)(?:\.|$)/.test(name)

const isMerger = ({ name, stage }: Parameter): boolean => stage === "last" || /merger|downsample|resampler|abstractor/.test(name)

const partOf = (module: ModelModule, entry: Parameter, block: Block | undefined): ModelPart => {
  if (entry.mtp) return "multi-token prediction"
  if (module.kind === "projector" || module.kind === "classifier") return module.kind
  if (module.kind === "vision" && typeof entry.stage !== "object") return isMerger(entry) ? "merger" : "patch embedding"
  if (entry.ragged) return "vocabulary"
  if (block === undefined) return module.kind === "vision" || module.kind === "audio" ? "tower" : "other"
  if (block.kind === "experts") return entry.expert || /latent_proj/.test(entry.name) ? "experts" : "router"
  return block.kind === "mlp" && block.shared ? "shared experts" : PART_OF[block.kind]
}

const unitOf = (module: ModelModule, entry: Parameter): InputUnit => {
  if (module.kind === "projector") return "merged"
  if (module.kind === "vision") return isMerger(entry) ? "merged" : "patch"
  return module.kind === "audio" ? "frame" : "token"
}

/** Rows of keys and values in a parameter that holds them beside its queries. */
const keyRows = ({ attention, shape }: Parameter): number => {
  if (attention === undefined || attention.groups === attention.heads) return 0
  const rows = attention.groups * (attention.headDim + (attention.valueDim ?? attention.headDim))
  return (rows / shape[0]!) * volume(shape)
}

const number = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined)

export interface ModelWeights {
  readonly groups: ReadonlyArray<WeightGroup>
  readonly vocabulary: VocabularySize | undefined
}

/**
 * The sums of a model.
 *
 * @param form `mimo`: by component, without multi-token prediction, which the trainer of MegatronMIMO models does not build
 */
export const modelWeights = (description: ModelDescription, form: Form): ModelWeights => {
  const groups = new Map<string, WeightGroup>()
  const { components, provider } = description
  for (const module of description.modules) {
    const find = blockFinder(module.blocks)
    for (const entry of module.entries) {
      if (entry.kind === "state" || (form === "mimo" && entry.mtp)) continue
      const block = find(entry.name)
      const part = partOf(module, entry, block)
      const unit = unitOf(module, entry)
      const component = form === "standard" ? STANDARD_COMPONENT : module.component ?? componentOf(components, "standard", entry.name) ?? ""
      const stage = typeof entry.stage === "object" ? `${entry.stage.layer}/${entry.stage.of}` : entry.stage
      const key = [component, module.kind, module.path, part, stage, unit, entry.expert !== undefined].join()
      let group = groups.get(key)
      if (group === undefined) {
        group = { component, module: module.kind, part, stage: entry.stage, unit, routed: entry.expert !== undefined, sharded: 0, replicated: 0, shared: new Map(), multiplyAdds: 0, extents: new Set() }
        groups.set(key, group)
      }
      const elements = volume(entry.shape)
      if (entry.splitAxis === undefined) group.replicated += elements
      else {
        group.sharded += elements
        const keys = keyRows(entry)
        if (keys > 0) group.shared.set(entry.attention!.groups, (group.shared.get(entry.attention!.groups) ?? 0) + keys)
        // Of queries, keys and values the heads are dealt out, by the rules for heads and groups.
        if (!entry.ragged && !entry.attention) group.extents.add(entry.shape[entry.splitAxis]!)
      }
      if (entry.shape.length < 2 || isTable(entry)) continue
      const topk = block?.kind === "experts" ? block.perToken ?? number(provider.fields["moe_router_topk"]) : undefined
      group.multiplyAdds += entry.expert ? (elements * Math.min(topk ?? 1, entry.expert.of)) / entry.expert.of : elements
    }
  }
  return { groups: [...groups.values()], vocabulary: vocabularyOf(description) }
}

const vocabularyOf = ({ modules }: ModelDescription): VocabularySize | undefined => {
  const language = modules.find((m) => m.kind === "language")
  if (language === undefined || modules.some((m) => m.kind === "classifier")) return undefined
  const { hidden_size, share_embeddings_and_output_weights: tied, vocab_size } = language.config
  return { rows: vocab_size, width: hidden_size, tied }
}

export const elementsOf = ({ replicated, sharded }: WeightGroup): number => replicated + sharded

/** All parameters of a model, in elements, the vocabulary without padding. */
export const parameterCount = ({ groups }: ModelWeights, of: (group: WeightGroup) => boolean = () => true): number =>
  groups.reduce((sum, group) => sum + (of(group) ? elementsOf(group) : 0), 0)
