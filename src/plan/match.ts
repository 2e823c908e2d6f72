/** Matching source tensors against what a model is made of: the accounting that refuses silent loss. */
import type { Carried } from "../bridge/Family.ts"
import type { ExpectedTensor } from "../bridge/Mapping.ts"
import type { MappingRegistry } from "../bridge/Registry.ts"
import { PlanRefused, quote, quotePath, UsageError } from "../errors.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { type Contradiction, headMissing, shapesExplained, thereInstead } from "../recognise/instead.ts"
import { sameShape, type Shape } from "../tensor/Copy.ts"
import { ACTIVATION_SCALES_REASON, ROUNDED } from "./accounting.ts"

/** `*` for digits and `**` for anything, as in mapping rows; both are captured. */
const wildcard = (pattern: string): RegExp =>
  new RegExp(`^${
    pattern.split(/(\*\*|\*)/).map((t) => t === "**" ? "(.*)" : t === "*" ? "(\\d+)" : t.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join("")
  }$`)

/** Does `name` match, `*` being anything and `any` one character? Takes the product of both lengths at most: no regular expression of a user's. */
export const matchesStars = (pattern: string, name: string, any?: string): boolean => {
  let [p, n, star, mark] = [0, 0, -1, 0]
  while (n < name.length) {
    const c = pattern[p]
    if (c === "*") [star, mark] = [p++, n]
    else if (c !== undefined && (c === any || c === name[n])) [p, n] = [p + 1, n + 1]
    else if (star >= 0) [p, n] = [star + 1, ++mark]
    else return false
  }
  while (pattern[p] === "*") p++
  return p === pattern.length
}

export const compileAllowed = (patterns: ReadonlyArray<string>): ((name: string) => boolean) => {
  for (const pattern of patterns) {
    if (pattern.length > 512) throw new UsageError({ problem: `--allow-unmapped: a pattern of ${pattern.length} characters is too long` })
  }
  return (name) => patterns.some((pattern) => matchesStars(pattern, name))
}

/** A note for each pattern that matches none of these names: it was meant to. */
export const idlePatternNotes = (patterns: ReadonlyArray<string>, names: ReadonlyArray<string>): ReadonlyArray<string> =>
  patterns.filter((pattern) => !names.some((name) => matchesStars(pattern, name))).map((pattern) => `--allow-unmapped ${quote(pattern)} leaves nothing behind: no tensor without a place matches it`)

/** Which HF tensors a {@link Carried} rule names. */
export const compileCarried = (rules: ReadonlyArray<Carried>) => {
  const compiled = rules.map((rule) => [wildcard(rule.pattern), rule] as const)
  return (name: string): Carried | undefined => compiled.find(([r]) => r.test(name))?.[1]
}

/** Why a tensor that travels beside the model does. */
export const carriedWhy = (rules: ReadonlyArray<Carried>, weights: Pick<HfWeights, "activationScales"> | undefined): ((name: string) => string) => {
  const ruleOf = compileCarried(rules)
  return (name) => ruleOf(name)?.why ?? (weights?.activationScales.has(name) ? ACTIVATION_SCALES_REASON : ROUNDED)
}

/** What carried tensors must look like, beside the tensors that the model is made of: a stored alias has the shape of what it repeats. */
export const expectedBeside = (
  rules: ReadonlyArray<Carried>,
  model: ReadonlyMap<string, ExpectedTensor>,
  has: (name: string) => boolean
): ReadonlyArray<ExpectedTensor> =>
  rules.flatMap(({ alias, pattern }) => {
    const repeated = alias === undefined ? undefined : model.get(alias)
    return repeated && has(pattern) ? [{ name: pattern, shape: repeated.shape }] : []
  })

interface Present {
  readonly name: string
  readonly shape: Shape
}

/**
 * Every tensor the model is made of is there and has the shape that the config implies; otherwise {@link PlanRefused} names
 * the first ten, and what is there instead. `where` says which side is looked at, `fileOf` where exactly.
 */
export const requireTensors = <A extends Present>(
  expected: ReadonlyArray<ExpectedTensor>,
  actual: ReadonlyMap<string, A>,
  where: string,
  fileOf: (found: A) => string = () => where
): void => {
  const missing: Array<ExpectedTensor> = []
  const contradicting: Array<Contradiction & { readonly file: string }> = []
  for (const tensor of expected) {
    const { name, shape } = tensor
    const found = actual.get(name)
    if (!found) missing.push(tensor)
    else if (!sameShape(found.shape, shape)) contradicting.push({ name, implied: shape, stored: found.shape, file: fileOf(found) })
  }
  if (contradicting.length > 0) {
    const hint = shapesExplained(contradicting)
    throw new PlanRefused({
      code: "plan/shape",
      problem: `${contradicting.length === 1 ? "a tensor contradicts" : `${contradicting.length} tensors contradict`} config.json`,
      names: contradicting.map(({ file, implied, name, stored }) => `${name} (config.json implies [${implied}], ${file} has [${stored}])`),
      ...(hint === undefined ? {} : { hint })
    })
  }
  if (missing.length === 0) return
  const known = new Set(expected.map(({ name }) => name))
  const instead = thereInstead(missing, [...actual.values()].filter(({ name }) => !known.has(name)))
  throw new PlanRefused({
    code: "plan/missing",
    problem: `${missing.length} of the tensors that the model is made of ${missing.length === 1 ? "is" : "are"} missing from ${quotePath(where)}`,
    names: missing.map(({ name }) => name),
    hint: headMissing(missing.map(({ name }) => name)) ?? `Either the checkpoint is incomplete or config.json describes another model.${instead === undefined ? "" : `\n  ${instead}`}`
  })
}

/** Refuse tensors that nothing accounts for. */
export const refuseUnmapped = (names: ReadonlyArray<string>, registries: ReadonlyArray<MappingRegistry>, spot: (names: ReadonlyArray<string>) => string): void => {
  if (names.length === 0) return
  const known = names.find((name) => registries.some((r) => r.claimants(name).length > 0))
  throw new PlanRefused({
    code: "plan/unmapped",
    problem: `${names.length} tensor${names.length === 1 ? "" : "s"} of ${quotePath(spot(names))} would be lost: no mapping row claims ${names.length === 1 ? "it" : "them"}`,
    names,
    hint: known !== undefined
      ? `The family knows the name ${quote(known)}, but by config.json the model has no such part.`
      : "--allow-unmapped PATTERN leaves them behind on purpose (`*` stands for anything); the report lists them."
  })
}
