/** A rule rewrites a draft, or says why there is no exact equivalent. */
import type { TrainingArguments } from "../../arguments/TrainingArguments.ts"
import { Unsupported } from "../../errors.ts"
import type { RunConfigMap } from "../../runconfig/RunConfigFile.ts"
import type { RecognisedComponents } from "../../mimo/recognise.ts"
import type { Draft } from "../Draft.ts"

export interface RuleContext {
  /** The components of the model, or why they are not known. */
  readonly components: RecognisedComponents
  readonly runConfig: RunConfigMap | undefined
  /** Of the run that wrote the checkpoint, where it holds them. */
  readonly args?: TrainingArguments
  /** Which modules have a state, if a config.json says what the model is: by their paths in either form. */
  readonly hasState?: (module: string) => boolean
}

export type Rule = (draft: Draft, context: RuleContext) => Draft

/** No exact equivalent: why, and what can be done. */
export const noEquivalent = (to: string, problem: string, hint?: string): never => {
  throw new Unsupported({ code: "unsupported/relabel", what: `--to ${to}`, problem, ...(hint ? { hint } : {}) })
}

/** The names at fault, the first few. */
export const few = (names: ReadonlyArray<string>): string => names.slice(0, 3).join(", ") + (names.length > 3 ? `, … (${names.length})` : "")

/** Layers or experts under one key; no model has more, a hostile shape may claim any number. */
const MOST_SLICES = 100_000

/** How many slices a tensor has along its first axis. */
export const slicesOf = (to: string, key: string, shape: ReadonlyArray<number>): number => {
  const count = shape[0] ?? 0
  return count <= MOST_SLICES ? count : noEquivalent(to, `${key} has ${count} slices along its first axis, which no model has`)
}
