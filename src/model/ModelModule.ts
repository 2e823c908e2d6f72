/**
 * The typed modules of a model: language model, towers, projectors, each with the sizes it was built from. What it stores follows
 * from them; planners and calculators read the sizes and need no names.
 */
import type { PlacedBlock } from "./Block.ts"
import type { Model } from "./Parameter.ts"
import type { ForwardFacts } from "./Forward.ts"
import { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** A stack of encoder layers. Widths are in elements. */
export interface TowerSizes {
  readonly layers: number
  readonly hidden: number
  readonly heads: number
  /** Key/value heads, where fewer than `heads`. */
  readonly groups?: number
  /** Width of a head, where it is not `hidden / heads`. */
  readonly headDim?: number
  readonly ffn: number
  /** The MLP has a gate beside its first matrix. */
  readonly gated: boolean
  /** Width of what the tower hands on, behind any merger of its own. */
  readonly output: number
}

/** Sizes of a stack of encoder layers, without the width of its output. */
export const stackSizes = (c: TransformerConfig & { readonly ffn_hidden_size: number }): Omit<TowerSizes, "output"> => ({
  layers: c.num_layers,
  hidden: c.hidden_size,
  heads: c.num_attention_heads,
  ...(c.num_query_groups < c.num_attention_heads ? { groups: c.num_query_groups } : {}),
  ffn: c.ffn_hidden_size,
  gated: c.gated_linear_unit
})

/** Sizes of a vision tower. */
export interface VisionSizes extends TowerSizes {
  /** Side of a patch in pixels; frames that one patch covers. */
  readonly patch: { readonly height: number; readonly width: number; readonly channels: number; readonly frames: number }
  /** Patches per side that become one token, in the tower or in its projector. */
  readonly merge: number
  /** Learned positions; absent where positions are computed. */
  readonly positions?: number
}

/** Sizes of an audio tower. */
export interface AudioSizes extends TowerSizes {
  /** `conformer`: two half MLPs, relative attention and a convolution per layer. */
  readonly form: "transformer" | "conformer"
  readonly melBins: number
  /** Width of a conformer's convolution. */
  readonly kernel?: number
}

/** What leads from a tower to the language model. */
export interface ProjectorSizes {
  readonly input: number
  /** Width of the inner layer; absent for a single linear map. */
  readonly hidden?: number
  readonly output: number
}

interface ModulePath {
  /** Module path in the standard model; empty for a language model that is all of it. */
  readonly path: string
}

/** A language model: a GPT or a hybrid. */
export interface LanguageFacts extends ModulePath {
  readonly kind: "language"
  /** Layers, vocabulary, experts, multi-token prediction; what each layer is made of is in the blocks. */
  readonly config: TransformerConfig
  /** What it computes; absent where that is more than the forward check knows. */
  readonly forward?: ForwardFacts
}

/** A tower for images or video. */
export interface VisionFacts extends ModulePath {
  readonly kind: "vision"
  readonly sizes: VisionSizes
  /** Where Megatron builds the tower from its own layers. */
  readonly config?: TransformerConfig
}

/** A tower for sound. */
export interface AudioFacts extends ModulePath {
  readonly kind: "audio"
  readonly sizes: AudioSizes
}

/** What leads from a tower to the language model. */
export interface ProjectorFacts extends ModulePath {
  readonly kind: "projector"
  readonly sizes: ProjectorSizes
}

/** Indexers that stand beside the language model, one for each of some layers. */
export interface IndexerFacts extends ModulePath {
  readonly kind: "indexers"
  readonly sizes: { readonly layers: ReadonlyArray<number>; readonly hidden: number; readonly heads: number; readonly headDim: number }
}

/** A head that replaces the output layer: labels instead of a vocabulary. */
export interface ClassifierFacts extends ModulePath {
  readonly kind: "classifier"
  readonly sizes: { readonly hidden: number; readonly labels: number }
}

/** A module of a model by its kind, with the sizes that planners read. */
export type ModuleFacts = LanguageFacts | VisionFacts | AudioFacts | ProjectorFacts | IndexerFacts | ClassifierFacts

/** A module as a family gives it: what it is, and what it is built of. */
export type ModuleSource = ModuleFacts & { readonly build: (s: Scope) => void }

/** A module with its parts. */
export type ModelModule = ModuleFacts & {
  /** The component it trains with; undefined where explicit routes divide it. */
  readonly component: string | undefined
  /** Attention, MLPs, experts: of every layer of Megatron's own, in order. A tower that is taken over as it is has none. */
  readonly blocks: ReadonlyArray<PlacedBlock>
  /** Its parameters and module states, in state-dict order. */
  readonly entries: Model
}

/** Build modules, in order, as parts of one model. */
export const buildModules = (sources: ReadonlyArray<ModuleSource>): ReadonlyArray<Omit<ModelModule, "component"> & ModuleFacts> =>
  Scope.collectAll(sources.map(({ build, path }) => (root) => build(path === "" ? root : root.at(path))))
    .map((parts, i) => {
      const { build: _, ...facts } = sources[i]!
      return { ...facts, ...parts }
    })
