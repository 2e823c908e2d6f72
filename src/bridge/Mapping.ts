/**
 * Mapping rows: "this Megatron parameter is made of these HF tensors, like this". A mapping kind is written once, as copies
 * from HF tensors to the parameter; export runs the same copies with their sides swapped. The shapes of the HF tensors follow
 * from the parameter's, so that both tensor spaces are known from the config alone and can be checked against any file.
 */
import type { Parameter } from "../model/Parameter.ts"
import type { Copy, Shape } from "../tensor/Copy.ts"

/** An HF tensor that a row expects. */
export interface ExpectedTensor {
  readonly name: string
  readonly shape: Shape
}

/** What one parameter is made of: HF tensors, and copies from them (source) to the parameter (target, named by `parameter.name`). */
export interface Relation {
  readonly tensors: ReadonlyArray<ExpectedTensor>
  readonly copies: ReadonlyArray<Copy>
}

/** How parameters are made of HF tensors: one function from a parameter to copies, which an export runs with their sides swapped. */
export interface MappingKind {
  /** Short name for tables and plans, e.g. `qkv`. */
  readonly name: string
  /** Number of HF names the kind takes. */
  readonly arity: number
  /** Every element has this value, for HF has no such tensor: what an export leaves out, and only while it is so. */
  readonly constant?: number
  /** The HF model's module says of itself that its matrices are `[in, out]` (`is_transposed`): adapters of it follow that. */
  readonly inputFirst?: true
  /** `names`: the resolved HF names, in the row's order; `captures`: the numbers that the row's wildcards matched. */
  readonly relate: (parameter: Parameter, names: ReadonlyArray<string>, captures: ReadonlyArray<string>) => Relation
}

/** Both names of an HF tensor: what tables call it, and what the checkpoint at hand calls it. */
export interface Spelling {
  readonly published: (stored: string) => string
  readonly stored: (published: string) => string
}

/** A row before its wildcards are resolved. `hf` patterns use the captures of `megatron` from left to right, `**` first. */
export interface Row {
  readonly megatron: string
  readonly hf: ReadonlyArray<string>
  readonly kind: MappingKind
  /** Where the checkpoint has other names than `hf`. */
  readonly spelling?: Spelling
}

/** The right-hand side of a row in a family's table. A plain string means {@link direct}. */
export interface RowSource {
  readonly hf: ReadonlyArray<string>
  readonly kind: MappingKind
}

/** `self_attn.{q,k,v}_proj.weight` → the three names. */
export const expandBraces = (pattern: string): Array<string> => {
  const match = /^([^{}]*)\{([^{}]*)\}(.*)$/.exec(pattern)
  if (!match) return [pattern]
  return match[2]!.split(",").flatMap((choice) => expandBraces(`${match[1]}${choice}${match[3]}`))
}

/** Make a row source of a kind from a brace pattern; the number of names must be the kind's arity. */
export const from = (kind: MappingKind) => (pattern: string): RowSource => {
  const hf = expandBraces(pattern)
  if (hf.length !== kind.arity) throw new RangeError(`${kind.name} takes ${kind.arity} names, ${pattern} has ${hf.length}`)
  return { hf, kind }
}
