/**
 * A Megatron model as a list of what it stores: parameters and opaque module states, in state-dict order (the order in which
 * the reference writes them). Names are the in-memory ones at tp = pp = ep = 1, which mapping rows use; each parameter also
 * says where its parts live on disk, where tensors are global and independent of any parallel layout.
 */
import type { DType } from "../tensor/DType.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"
import type { Shape } from "../tensor/Copy.ts"

/** Heads of the attention that owns a parameter; mapping kinds need them for interleaving. */
export interface AttentionShape {
  readonly heads: number
  /** Key/value groups (GQA). */
  readonly groups: number
  readonly headDim: number
  /** Width of one value head where it differs from `headDim`. */
  readonly valueDim?: number
  /** Each query head is followed by a gate head of the same width. */
  readonly outputGate?: boolean
}

/** Where some rows of a parameter are stored: `rows` of axis 0 (all, if absent) lie at `at` of the tensor `key`. */
export interface StoredPart {
  readonly rows?: readonly [start: number, end: number]
  readonly key: string
  /** Global shape of `key`: the part's own axes behind any layer and expert axis. */
  readonly shape: Shape
  readonly at: ReadonlyArray<number>
}

/**
 * Position in the pipeline: an embedding sits on the first stage, a head on the last, layer i where its stage is; the final norm
 * with the last layer where the trainer builds multi-token prediction, else with the head.
 */
export type Stage = "first" | "last" | "norm" | { readonly layer: number; readonly of: number }

export interface Expert {
  readonly index: number
  readonly of: number
}

/** A parameter of the Megatron model: its global shape (in elements, outermost first), how parallelism cuts it, and under which keys its parts are stored. */
export interface Parameter {
  readonly kind: "parameter"
  readonly name: string
  readonly shape: Shape
  /** Axis that tensor parallelism splits; absent: replicated. */
  readonly splitAxis?: number
  /** The vocabulary axis: a checkpoint may hold more rows than the model, whose own come first (`allow_shape_mismatch`). */
  readonly ragged?: boolean
  readonly parts: ReadonlyArray<StoredPart>
  readonly stage: Stage
  readonly expert?: Expert
  readonly attention?: AttentionShape
  /** The trainer keeps this parameter in this dtype whatever the model's (`expert_bias`). */
  readonly keep?: DType
  /** What the trainer builds its module from. */
  readonly config?: TransformerConfig
  /** A table or a counter: its values may be integers, those of any other parameter may not. */
  readonly integer?: true
  /** Belongs to multi-token prediction, which not every trainer has a module for. */
  readonly mtp?: true
}

/** A byte entry that default strictness asks for: `torch.save([x])`, x an empty uint8 tensor or None. */
export interface ModuleState {
  readonly kind: "state"
  /** Complete stored key, `<module>._extra_state/shard_<offset>_<shape>`. */
  readonly key: string
  readonly payload: "empty" | "none"
  readonly stage: Stage
  readonly expert?: Expert
  readonly mtp?: true
}

/** What a state dict of Megatron holds. */
export type Entry = Parameter | ModuleState

/** A model: its entries in state-dict order. */
export type Model = ReadonlyArray<Entry>
