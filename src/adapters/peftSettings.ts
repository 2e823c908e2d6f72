/** From the adapters of a checkpoint to the settings by which `peft` builds them: targets by name, ranks and scales that differ. Pure. */
import type { BoundParameter } from "../bridge/Conversion.ts"
import type { AdapterSettings } from "../runconfig/adapterSection.ts"
import type { TargetAdapter } from "./exportDraft.ts"
import type { PeftConfig } from "./peftConfig.ts"

const leafOf = (path: string): string => path.slice(path.lastIndexOf(".") + 1)

/** Paths of all modules of the model, those in which others are included. */
export const modulePaths = (parameters: ReadonlyArray<BoundParameter>, tensors: Iterable<string>): ReadonlySet<string> => {
  const paths = new Set<string>()
  const names = Iterator.from(parameters).flatMap((bound) => bound.tensors.map(({ name }) => name))
  for (const name of [...names, ...tensors]) {
    for (let end = name.lastIndexOf("."); end > 0; end = name.lastIndexOf(".", end - 1)) {
      const path = name.slice(0, end)
      if (paths.has(path)) break
      paths.add(path)
    }
  }
  return paths
}

/**
 * `target_modules`: the last names of the modules, each once, as long as all modules of that name have an adapter; the whole paths
 * of the others, so that `peft` adds none that is not there.
 */
export const targetModules = (targets: ReadonlyArray<TargetAdapter>, all: ReadonlySet<string>): ReadonlyArray<string> => {
  const adapted = new Set(targets.filter(({ kind }) => kind === "module").map(({ path }) => path))
  const partly = new Set(Iterator.from(all).filter((path) => !adapted.has(path)).map(leafOf))
  return [...new Set(Iterator.from(adapted).map((path) => (partly.has(leafOf(path)) ? path : leafOf(path))))].sort()
}

/** A number by module, as a pattern: by last names where all modules of a name agree. */
const patternOf = (targets: ReadonlyArray<TargetAdapter>, usual: number, value: (target: TargetAdapter) => number): ReadonlyMap<string, number> => {
  const pattern = new Map<string, number>()
  for (const [leaf, own] of Map.groupBy(targets, ({ path }) => leafOf(path))) {
    const values = new Set(own.map(value))
    const [only] = values
    if (values.size === 1 && only !== usual) pattern.set(leaf, only!)
    else if (values.size > 1) for (const target of own) if (value(target) !== usual) pattern.set(target.path, value(target))
  }
  return pattern
}

/** The configuration of these adapters. `base`: what it says the base model is. */
export const peftConfigOf = (settings: AdapterSettings, targets: ReadonlyArray<TargetAdapter>, all: ReadonlySet<string>, base: string): PeftConfig => {
  const parameters = targets.filter(({ kind }) => kind === "parameter").map(({ path }) => path)
  const { alpha, dropout, form, rank } = settings
  return {
    rank,
    alpha,
    // Of a parameter `peft` cannot drop inputs.
    dropout: parameters.length > 0 ? 0 : dropout,
    dora: form === "dora",
    rankStabilised: false,
    targetModules: targetModules(targets, all),
    targetParameters: parameters.sort(),
    rankPattern: patternOf(targets, rank, (target) => target.rank),
    // Blocks of several adapters, and parts of one, keep the scale that each had.
    alphaPattern: patternOf(targets, alpha, (target) => (alpha * target.rank * target.times) / target.storedRank),
    base
  }
}
