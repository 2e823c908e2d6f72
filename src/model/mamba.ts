/**
 * The Mamba-2 mixer. With H heads of width d, G groups and state size N: the input projection holds z (H·d rows), x (H·d),
 * B (G·N), C (G·N) and dt (H), the convolution x, B and C; on disk each has a key of its own. Sources: torch-dist-format.md D.3,
 * the conformance cases.
 */
import { FormatError } from "../errors.ts"
import { linear, type NormKind } from "./modules.ts"
import type { Scope } from "./Scope.ts"
import type { TransformerConfig } from "./TransformerConfig.ts"

/** What differs among Mamba mixers of the same sizes. */
export interface MambaOptions {
  /** The layer's norm is fused in front of the input projection. */
  readonly fusedNorm?: NormKind
  /** Width of the convolution. */
  readonly kernel?: number
  readonly convBias?: boolean
  /** The gated output is normalised. */
  readonly norm?: boolean
}

/** The sizes of a mixer, in elements; a FormatError names a field that the config lacks. */
export const mambaSizes = (c: TransformerConfig) => {
  const need = (field: "mamba_num_heads" | "mamba_head_dim" | "mamba_num_groups" | "mamba_state_dim"): number => {
    const value = c[field]
    if (value === undefined) throw new FormatError("config/missing", "a Mamba layer needs this field", { field })
    return value
  }
  const heads = need("mamba_num_heads")
  const [headDim, groups, stateDim] = [need("mamba_head_dim"), need("mamba_num_groups"), need("mamba_state_dim")]
  return { heads, headDim, groups, stateDim, inner: heads * headDim, state: groups * stateDim }
}

/** The mixer: input projection, convolution, A, D, dt, norm, output projection. */
export const mambaMixer = (at: Scope, c: TransformerConfig, { convBias = true, fusedNorm, kernel = 4, norm = true }: MambaOptions = {}): void => {
  const s = at.from(c)
  const { groups, headDim, heads, inner, state, stateDim } = mambaSizes(c)
  s.block({ kind: "mamba", hidden: c.hidden_size, heads, headDim, groups, state: stateDim, kernel })
  const convolved = [["x", inner], ["B", state], ["C", state]] as const
  const channels = inner + 2 * state
  s.parameter("conv1d.weight", [channels, 1, kernel], { splitAxis: 0, named: convolved })
  if (convBias) s.parameter("conv1d.bias", [channels], { splitAxis: 0, named: convolved })
  for (const name of ["dt_bias", "A_log", "D"]) s.parameter(name, [heads], { splitAxis: 0 })
  linear(s, "in_proj", inner + channels + heads, c.hidden_size, {
    parallel: "column",
    fusedNorm,
    named: [["z", inner], ...convolved, ["dt", heads]]
  })
  if (norm) s.parameter("norm.weight", [inner], { splitAxis: 0 })
  linear(s, "out_proj", c.hidden_size, inner, { parallel: "row" })
}
