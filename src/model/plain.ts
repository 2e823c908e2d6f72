/**
 * Plain torch modules inside a Megatron model: encoders and projectors that the trainer takes over as they are. Their
 * parameters keep their names and shapes, are replicated over tensor-parallel ranks, sit on the first pipeline stage, and no
 * module of theirs has an `_extra_state`.
 */
import type { Shape } from "../tensor/Copy.ts"
import type { Scope } from "./Scope.ts"

/** A replicated weight without module state. */
export const plainWeight = (s: Scope, name: string, shape: Shape): void => s.parameter(`${name}.weight`, shape)

/** `weight [out, in, …]` and, unless `bias` is false, `bias [out]`: a linear layer or a convolution. */
export const plainLayer = (s: Scope, name: string, shape: Shape, bias = true): void => {
  plainWeight(s, name, shape)
  if (bias) s.parameter(`${name}.bias`, [shape[0]!])
}

/** Linear layers of one shape, in order. */
export const plainLayers = (s: Scope, names: ReadonlyArray<string>, shape: Shape, bias = true): void => {
  for (const name of names) plainLayer(s, name, shape, bias)
}

/** Numbered blocks; the number stays in the key. */
export const plainBlocks = (s: Scope, name: string, count: number, describe: (block: Scope, index: number) => void): void =>
  s.layers(name, count, "indexed", describe, { staged: false })
