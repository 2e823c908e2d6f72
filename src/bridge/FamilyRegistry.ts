/** Which family reads a config.json: dispatch by `architectures`, as the reference does; unknown ones name their closest kin. */
import { FormatError, type Place, quote, Unsupported } from "../errors.ts"
import { ASSEMBLED, assembledFamily } from "./assembled.ts"
import type { Component } from "./Component.ts"
import { type Family, routed } from "./Family.ts"

/** Edit distance, for suggestions only; the inputs are capped. */
const distance = (a: string, b: string): number => {
  const [x, y] = [a.slice(0, 100), b.slice(0, 100)]
  let row = Array.from({ length: y.length + 1 }, (_, j) => j)
  for (let i = 1; i <= x.length; i++) {
    const next = [i]
    for (let j = 1; j <= y.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (x[i - 1] === y[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[y.length]!
}

/** `architectures[0]` of a parsed config.json. */
export const architectureOf = (config: unknown): string => {
  if (typeof config !== "object" || config === null || Array.isArray(config)) throw new FormatError("config/not-an-object", "the config is not a JSON object, which would name its architectures", { field: "architectures" })
  const { architectures } = config as { architectures?: unknown }
  const first = Array.isArray(architectures) ? architectures[0] : undefined
  if (typeof first !== "string") {
    throw new FormatError("config/no-architecture", "there is no architectures[0] that says which model this is", { field: "architectures" })
  }
  return first
}

/** What holds for every family: the same family, described further. */
export type FamilyRule = (family: Family) => Family

/** The families among which a config.json finds its own, by architecture. */
export class FamilyRegistry {
  readonly families: ReadonlyArray<Family>
  readonly #own: ReadonlyArray<Family>
  readonly #rules: ReadonlyArray<FamilyRule>
  readonly #byArchitecture = new Map<string, Family>()

  /** `rules` are applied to every family, also to those added later, the first one first. */
  constructor(families: Iterable<Family>, rules: ReadonlyArray<FamilyRule> = []) {
    this.#own = [...families]
    this.#rules = rules
    this.families = this.#own.map((own) => rules.reduce((family, rule) => rule(family), own))
    for (const family of this.families) {
      for (const architecture of family.architectures) {
        const other = this.#byArchitecture.get(architecture)
        if (other) throw new RangeError(`${architecture} is claimed by ${other.name} and ${family.name}`)
        this.#byArchitecture.set(architecture, family)
      }
    }
  }

  get architectures(): ReadonlyArray<string> {
    return [...this.#byArchitecture.keys()].sort()
  }

  /** The family of a parsed config.json, read from `path`; {@link Unsupported} with the closest known architectures. */
  find(config: unknown, path?: string, place: Place = { field: "architectures" }): Family {
    const architecture = architectureOf(config)
    const family = this.#byArchitecture.get(architecture)
    if (family) return family
    if (architecture === ASSEMBLED) return assembledFamily((part, place) => this.find(part, place))
    const whole = ["ForCausalLM", "ForConditionalGeneration"].map((end) => architecture.replace(/Model$/, end)).find((name) => this.#byArchitecture.has(name))
    const base = whole === undefined ? "" : `This is a base model, saved without its output layer (AutoModel); ${quote(whole)} is the whole one: save that. `
    const closest = this.architectures
      .map((name) => [distance(name.toLowerCase(), architecture.toLowerCase()), name] as const)
      .sort((a, b) => a[0] - b[0])
      .slice(0, 3)
      .map(([, name]) => name)
    throw new Unsupported({ code: "unsupported/architecture",
      what: path ?? architecture,
      problem: path === undefined ? "no family here answers to this architecture" : `no family here answers to its architecture: "${quote(architecture)}"`,
      ...(path === undefined ? {} : { place }),
      hint: `${base}Closest known: ${closest.map(quote).join(", ")}. \`scaffold\` begins a family for it, \`--family FILE\` loads one (docs/adding-a-family.md).`
    })
  }

  /** The registry with a further family. */
  with(family: Family): FamilyRegistry {
    return new FamilyRegistry([...this.#own, family], this.#rules)
  }

  /** The registry with a family that answers in place of others to its architectures. */
  replacing(family: Family): FamilyRegistry {
    const others = this.#own.flatMap((own) => {
      const architectures = own.architectures.filter((a) => !family.architectures.includes(a))
      return architectures.length > 0 ? [{ ...own, architectures }] : []
    })
    return new FamilyRegistry([...others, family], this.#rules)
  }

  /**
   * The registry with explicit MIMO routes for an architecture whose components its family cannot derive: they replace the
   * family's own.
   */
  withMimoRoutes(architecture: string, components: (config: unknown) => ReadonlyArray<Component>): FamilyRegistry {
    const own = this.#own.find((f) => f.architectures.includes(architecture))
    if (!own) throw new Unsupported({ code: "unsupported/architecture", what: architecture, problem: "no family here answers to this architecture" })
    // Their table depends on the config, so a checkpoint alone does not show it.
    const { mimo: _, ...described } = own
    const rerouted: Family = {
      ...described,
      name: `${own.name} (explicit routes)`,
      architectures: [architecture],
      describe: (config, headers) => routed(own.describe(config, headers), components(config))
    }
    const rest = { ...own, architectures: own.architectures.filter((a) => a !== architecture) }
    return new FamilyRegistry([...this.#own.flatMap((f) => (f !== own ? [f] : rest.architectures.length > 0 ? [rest] : [])), rerouted], this.#rules)
  }
}
