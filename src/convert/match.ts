/** Matching source tensors against what a model is made of: the accounting that refuses silent loss. */
import type { Carried } from "../bridge/Family.ts"
import type { HfTensor } from "../bridge/Mapping.ts"
import type { MappingRegistry } from "../bridge/Registry.ts"
import { PlanRefused, quote, UsageError } from "../errors.ts"
import { sameShape, type Shape } from "../tensor/Copy.ts"

/** `*` for digits and `**` for anything (as in mapping rows) or, in `--allow-unmapped` patterns, both for anything. */
export const wildcard = (pattern: string, star: "digits" | "anything"): RegExp =>
  new RegExp(`^${
    pattern.split(/(\*\*|\*)/).map((t) =>
      t === "**" ? ".*" : t === "*" ? (star === "digits" ? "\\d+" : ".*") : t.replace(/[.+?^${}()|[\]\\]/g, "\\$&")
    ).join("")
  }$`)

export const compileAllowed = (patterns: ReadonlyArray<string>): ((name: string) => boolean) => {
  for (const pattern of patterns) {
    if (pattern.length > 512) throw new UsageError({ problem: `--allow-unmapped: a pattern of ${pattern.length} characters is too long` })
  }
  const compiled = patterns.map((p) => wildcard(p, "anything"))
  return (name) => compiled.some((r) => r.test(name))
}

/** Which HF tensors a {@link Carried} rule names. */
export const compileCarried = (rules: ReadonlyArray<Carried>) => {
  const compiled = rules.map((rule) => [wildcard(rule.pattern, "digits"), rule] as const)
  return (name: string): Carried | undefined => compiled.find(([r]) => r.test(name))?.[1]
}

interface Present {
  readonly shape: Shape
}

/**
 * Every tensor the model is made of is there and has the shape that the config implies; otherwise {@link PlanRefused} names
 * the first ten. `where` says which side is looked at, `fileOf` where exactly.
 */
export const requireTensors = <A extends Present>(
  expected: Iterable<HfTensor>,
  actual: (name: string) => A | undefined,
  where: string,
  fileOf: (found: A) => string = () => where
): void => {
  const missing: Array<string> = []
  const contradicting: Array<string> = []
  for (const { name, shape } of expected) {
    const found = actual(name)
    if (!found) missing.push(name)
    else if (!sameShape(found.shape, shape)) contradicting.push(`${name} (config.json implies [${shape}], ${fileOf(found)} has [${found.shape}])`)
  }
  if (contradicting.length > 0) {
    throw new PlanRefused({
      code: "plan/shape",
      problem: `${contradicting.length === 1 ? "a tensor contradicts" : `${contradicting.length} tensors contradict`} config.json`,
      names: contradicting
    })
  }
  if (missing.length > 0) {
    throw new PlanRefused({
      code: "plan/missing",
      problem: `${missing.length} of the tensors that the model is made of ${missing.length === 1 ? "is" : "are"} missing from ${where}`,
      names: missing,
      hint: "Either the checkpoint is incomplete or config.json describes another model."
    })
  }
}

/** Refuse tensors that nothing accounts for. */
export const refuseUnmapped = (names: ReadonlyArray<string>, registries: ReadonlyArray<MappingRegistry>, where: string): void => {
  if (names.length === 0) return
  const known = names.filter((name) => registries.some((r) => r.claimants(name).length > 0))
  throw new PlanRefused({
    code: "plan/unmapped",
    problem: `${names.length} tensor${names.length === 1 ? "" : "s"} of ${where} would be lost: no mapping row claims ${names.length === 1 ? "it" : "them"}`,
    names,
    hint: known.length > 0
      ? `The family knows the name ${quote(known[0]!)}, but by config.json the model has no such part.`
      : "--allow-unmapped PATTERN leaves them behind on purpose (`*` stands for anything); the report lists them."
  })
}
