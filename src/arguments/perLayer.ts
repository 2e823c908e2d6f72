/**
 * Arguments that say something of every layer (`moe_layer_freq`, `linear_attention_freq`): a number, a list, or the expression
 * that the command line took, e.g. `([1]*3+[0]*1)*2`.
 */
import { FormatError } from "../errors.ts"
import type { TrainingArguments } from "./TrainingArguments.ts"

/** A thousand times as many as the deepest model has. */
const MOST = 1_000_000
/** Nested parentheses. */
const DEEPEST = 16

/** The list that an expression of lists, `+`, `*` and parentheses stands for; undefined for anything else. */
const listOf = (text: string): ReadonlyArray<number> | undefined => {
  const tokens = text.match(/\d+|[[\]()+*,]|\S/g) ?? []
  let at = 0
  const sum = (depth: number): Array<number> | undefined => {
    const total: Array<number> = []
    do {
      const part = product(depth)
      if (!part || total.length + part.length > MOST) return undefined
      for (const value of part) total.push(value)
    } while (tokens[at] === "+" && ++at)
    return total
  }
  const product = (depth: number): Array<number> | undefined => {
    let values = tokens[at] === "(" && depth < DEEPEST ? inside(depth) : list()
    while (values && tokens[at] === "*") {
      const times = Number(tokens[at + 1] ?? NaN)
      if (!(values.length * times <= MOST)) return undefined
      values = Array.from({ length: times }, () => values!).flat()
      at += 2
    }
    return values
  }
  const inside = (depth: number): Array<number> | undefined => {
    at++
    const values = sum(depth + 1)
    return values && tokens[at] === ")" && ++at ? values : undefined
  }
  const list = (): Array<number> | undefined => {
    if (tokens[at++] !== "[") return undefined
    const values: Array<number> = []
    while (/^\d+$/.test(tokens[at] ?? "")) {
      values.push(Number(tokens[at++]))
      if (tokens[at] === ",") at++
    }
    return tokens[at++] === "]" ? values : undefined
  }
  const values = sum(0)
  return at === tokens.length ? values : undefined
}

/** Longest expression that is read. */
const LONGEST = 10_000

/** A number f (every f-th layer), or one number per layer; undefined where the argument is absent or None. FormatError for anything else. */
export const perLayerValue = (args: TrainingArguments, name: string): number | ReadonlyArray<number> | undefined => {
  const value = args.value(name)
  if (value === undefined || value === null) return undefined
  if (typeof value === "number") return value
  if (Array.isArray(value) && value.every((item) => typeof item === "number")) return value
  const parsed = typeof value === "string" && value.length <= LONGEST ? (/^\d{1,7}$/.test(value) ? Number(value) : listOf(value)) : undefined
  if (parsed !== undefined) return parsed
  throw new FormatError("arguments/value", "the argument is neither a number nor a list of numbers", { field: `args.${name}` })
}
