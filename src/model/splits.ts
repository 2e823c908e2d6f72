/**
 * How tensor-parallel ranks hold a parameter, by its stored key alone: along which axis it is cut, and which rows of it are cut each
 * by itself (gate and up, the parts of a fused projection). The table is asked of the modules of this room: small specimens of every
 * kind of block are described, and what their parameters say is kept by the name of the parameter and of the modules it is in.
 */
import type { Parameter } from "./Parameter.ts"
import { kindOf } from "./moduleStates.ts"
import { specimens } from "./specimens.ts"

/** Equal rows for every rank, but per part: rank r of n holds the r-th of n shares of each. */
export interface Split {
  /** Undefined: every rank holds all of it. */
  readonly axis: number | undefined
  /** `halves`: gate and up of one stored tensor, where the unit is gated. Names: rows that are stored under `key.name`, in order. */
  readonly parts: "whole" | "halves" | ReadonlyArray<string>
}

const REPLICATED: Split = { axis: undefined, parts: "whole" }

/**
 * What no module of this room builds and trainers have: learned positions, what CLIP's and Whisper's towers have around their layers, a fused down
 * projection; biases of heads; projectors, of which only the second matrix is like that of an MLP.
 */
const ELSEWHERE: ReadonlyArray<readonly [RegExp, Split]> = [
  [/(?:^|\.)(?:position_embeddings\.weight|tokentype_embeddings\.weight|class_token|conv[12]\.(?:weight|bias)|ln_(?:pre|post)\.(?:weight|bias))$/, REPLICATED],
  [/\.(?:linear_qkv_down_proj\.(?:weight|bias)|out_proj\.bias)$/, REPLICATED],
  [/(?:^|\.)(?:output_layer|eh_proj)\.bias$|(?:^|\.)encoder\.linear_fc1\.(?:weight|bias)$/, { axis: 0, parts: "whole" }]
]

/** `mlp.experts.experts.linear_fc1.weight` → `experts.linear_fc1` and `weight`. */
const placeOf = (key: string): readonly [kind: string, name: string] => {
  const dot = key.lastIndexOf(".")
  return [kindOf(key.slice(0, Math.max(0, dot))), key.slice(dot + 1)]
}

const splitOfParameter = ({ parts, splitAxis }: Parameter): readonly [key: string, Split] => {
  const [first, ...more] = parts
  const { key } = first!
  if (more.length === 0) return [key, { axis: splitAxis, parts: "whole" }]
  if (more.every((part) => part.key === key)) return [key, { axis: splitAxis, parts: "halves" }]
  const base = key.slice(0, key.lastIndexOf("."))
  return [base, { axis: splitAxis, parts: parts.map((part) => part.key.slice(base.length + 1)) }]
}

/** By kind and name, and by the last module and name alone; undefined where specimens disagree. */
const collected = (): ReadonlyMap<string, Split | undefined> => {
  const table = new Map<string, Split | undefined>()
  const put = (id: string, split: Split): void => {
    const known = table.get(id)
    if (!table.has(id)) table.set(id, split)
    else if (JSON.stringify(known) !== JSON.stringify(split)) table.set(id, undefined)
  }
  for (const entry of specimens()) {
    if (entry.kind !== "parameter") continue
    const [key, split] = splitOfParameter(entry)
    const [kind, name] = placeOf(key)
    put(`${kind} ${name}`, split)
    put(`${kind.slice(kind.lastIndexOf(".") + 1)} ${name}`, split)
  }
  return table
}

let known: ReturnType<typeof collected> | undefined

/** A norm of any module that has one; those that are cut are in the table. */
const NORM = /(?:^|\.)[^.]*norm[^.]*\.(?:weight|bias)$/

/** Undefined for a parameter that no module of this room has. */
export const splitOf = (key: string): Split | undefined => {
  const elsewhere = ELSEWHERE.find(([pattern]) => pattern.test(key))
  if (elsewhere) return elsewhere[1]
  known ??= collected()
  const [kind, name] = placeOf(key.replace(/\bmamba_mixer\./, "mixer."))
  return known.get(`${kind} ${name}`) ?? known.get(`${kind.slice(kind.lastIndexOf(".") + 1)} ${name}`) ?? (NORM.test(key) ? REPLICATED : undefined)
}

/** Gate and up apart (`weight_w`), experts by number (`weight7`): the parameter that such a key is of. */
const ownKey = (key: string): string => key.replace(/(?<=\.(?:weight|bias))(?:_[wv]|\d+)$/, "")

/**
 * The axis that tensor parallelism splits of a stored tensor, counted behind any layer and expert axis, by its key alone; `undefined` for what every
 * rank holds whole, `"unknown"` for a name that is not one of Megatron's. The parts of a fused projection have keys of their own here.
 */
export const splitAxisOf = (key: string): number | undefined | "unknown" => {
  const own = splitOf(ownKey(key))
  if (own) return own.axis
  const dot = key.lastIndexOf(".")
  const fused = splitOf(key.slice(0, Math.max(0, dot)))
  return fused && Array.isArray(fused.parts) && fused.parts.includes(key.slice(dot + 1)) ? fused.axis : "unknown"
}

/** Stored in two halves, gate and up, each split on its own, if the activation is gated (torch-dist-format.md D.3). */
export const isFirstOfMlp = (key: string): boolean => /(?:^|\.)linear_fc1\.(?:weight|bias)$/.test(key)

/** The second matrix of the same MLP: its columns are as many as a half has rows. */
export const secondOfMlp = (key: string): string => key.replace(/linear_fc1\.(?:weight|bias)$/, "linear_fc2.weight")

/** Rows of the parts of a fused projection or convolution as wide as the output projection's input, and as many as there are heads. */
const AS_OUTPUT: ReadonlySet<string> = new Set(["z", "x", "value"])
const AS_HEADS: ReadonlySet<string> = new Set(["dt", "beta", "alpha"])

/**
 * How many of `rows` rows each of the named parts has: two are as wide as the mixer's output projection reads (`output`), others one
 * row per head (`heads`), and those that are left share the rest equally. Undefined if that does not come out even.
 */
export const rowsOfParts = (names: ReadonlyArray<string>, rows: number, { heads, output }: { readonly heads: number; readonly output: number }): ReadonlyArray<number> | undefined => {
  const known = names.map((name) => (AS_OUTPUT.has(name) ? output : AS_HEADS.has(name) ? heads : undefined))
  const open = known.filter((size) => size === undefined).length
  const rest = rows - known.reduce<number>((sum, size) => sum + (size ?? 0), 0)
  if (rest < 0 || (open === 0 ? rest !== 0 : rest % open !== 0)) return undefined
  return known.map((size) => size ?? rest / open)
}
