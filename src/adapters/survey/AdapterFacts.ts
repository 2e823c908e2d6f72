/** What can be said of adapters without their base model, as plain data. */
import type { DType } from "../../tensor/DType.ts"
import type { AdapterForm } from "../../runconfig/adapterSection.ts"

/** The adapter of one module, in one layer; that of packed or grouped experts counts as one. */
export interface AdapterModule {
  /** Path of the module, or of the wrapper of a parameter. */
  readonly module: string
  /** Which part of a fused weight, where parts have an adapter each. */
  readonly slot?: string
  readonly stack?: string
  readonly layer?: number
  readonly dtype: DType
  readonly rank: number
  readonly inputs: number
  readonly outputs: number
  readonly experts?: number
  /** What B·A is multiplied by; undefined where nothing says it. */
  readonly scale?: number
  /** It has row lengths of DoRA, which the norm does not know of. */
  readonly magnitude: boolean
  /** Frobenius norm of scale·B·A (of B·A, without a scale), where it was measured. */
  readonly norm?: number
  /** Norm of B, where it was measured: 0 before the first step of a training. */
  readonly outputNorm?: number
}

/** Adapters of a checkpoint or of a directory of `peft`. */
export interface AdapterFacts {
  readonly kind: "peft" | "megatron"
  readonly form: AdapterForm
  /** As the configuration says; undefined where there is none that can be read. */
  readonly rank?: number
  readonly alpha?: number
  readonly dropout?: number
  /** The scale is alpha / √rank. */
  readonly rankStabilised?: true
  readonly base?: string
  readonly targetModules: ReadonlyArray<string>
  readonly targetParameters: ReadonlyArray<string>
  /** A matrix that all experts of a layer share is stored once, as SGLang takes it. */
  readonly sharedOuter?: true
  /** Elements of all matrices. */
  readonly parameters: number
  readonly modules: ReadonlyArray<AdapterModule>
  /** Tensors of adapters that belong to no pair of A and B. */
  readonly unpaired: ReadonlyArray<string>
  /** Why the configuration could not be read. */
  readonly problem?: string
}

/** The last name of a module's path, as configurations call it; wrappers of parameters are named by what they wrap. */
export const leafOf = ({ module, slot }: AdapterModule): string => {
  const [, leaf] = /([^.[\]]+)(?:\[\d+\])*(?:\.base_layer)*$/.exec(module) ?? [undefined, module]
  return slot === undefined ? leaf! : `${leaf!}.${slot}`
}
