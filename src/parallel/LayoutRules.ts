/**
 * What makes a layout one that the trainer accepts.
 *
 * Several of these rules are about training only: that tp is a power of two and that dp sizes divide each other matters to
 * the communicators between components, not to any byte of a checkpoint. They are enforced all the same. The reference
 * converter builds the very model the trainer builds and runs the same validation on the way, and the layout it records in
 * `run_config.yaml` is validated again by whoever loads it: a layout refused there is of no use here.
 */
import { quote, some, UsageError } from "../errors.ts"
import { type Layout, type LayoutComponent, rankCount, rankRange, sizesText, wrongSizes } from "./ModuleParallelism.ts"

/** Every MegatronMIMO model has a component of this name; all others are encoders that feed it. */
export const LANGUAGE_COMPONENT = "language"

/** What a layout breaks. */
export interface Broken {
  /** Of the table that the rule stands in; numbers of the tables follow one another. */
  readonly rule: number
  readonly problem: string
  /** The trainer's own words: how its error begins, or its condition. */
  readonly trainer: string
  readonly hint?: string
}

type Problem = Pick<Broken, "problem" | "hint">

interface LayoutRule {
  readonly number: number
  /** How the trainer's error begins. */
  readonly trainer: string
  /** Holds for MegatronMIMO alone. */
  readonly mimo?: true
  readonly broken: (layout: Layout, componentNames: ReadonlyArray<string>) => Problem | undefined
}

const firstOf = <A>(all: ReadonlyArray<A>, problem: (a: A) => Problem | undefined): Problem | undefined => {
  for (const one of all) {
    const found = problem(one)
    if (found !== undefined) return found
  }
  return undefined
}

const eachComponent = (problem: (component: LayoutComponent) => Problem | undefined) =>
  ({ components }: Layout): Problem | undefined => firstOf(components, problem)

/**
 * The trainer's checks of a layout, in its order and by its numbers (`MegatronMIMOParallelismConfig.finalize`); the last is ours: the
 * components are exactly those of the model. What a model demands of its layout continues the numbers in ModelRules.ts, what training
 * demands in TrainingRules.ts.
 */
export const LAYOUT_RULES: ReadonlyArray<LayoutRule> = [
  {
    number: 1,
    trainer: "Language module 'language' must be in module_parallelisms.",
    mimo: true,
    broken: ({ components }, names) => noLanguage(components, names)
  },
  { number: 2, trainer: "must be positive.", broken: eachComponent(({ name, parallelism }) => wrongSizes({ name, ...parallelism })) },
  {
    number: 3,
    trainer: "world_size must be provided to compute data_parallel_size.",
    broken: eachComponent(({ name, parallelism }) => (parallelism.dp as number | undefined) === undefined ? { problem: `component ${quote(name)}: dp is not given` } : undefined)
  },
  {
    number: 4,
    trainer: "TP * CP * DP must be divisible by expert_tensor_parallel_size * expert_model_parallel_size",
    broken: eachComponent((component) => expertsDivide(component))
  },
  { number: 5, trainer: "rank_offset ranges overlap in heterogeneous deployment.", broken: (layout) => rangesAreDisjoint(layout) },
  { number: 6, trainer: "rank_offset ranges must tile the distributed world with no gaps", broken: (layout) => rangesTile(layout) },
  { number: 7, trainer: "Encoder modules must remain dense for MegatronMIMO MoE", mimo: true, broken: eachComponent((component) => encoderIsDense(component)) },
  { number: 8, trainer: "TP size must be a power of 2", mimo: true, broken: eachComponent((component) => tensorParallelIsPowerOfTwo(component)) },
  { number: 9, trainer: "DP sizes must be divisible between modules.", mimo: true, broken: ({ components }) => dataParallelSizesDivide(components) },
  { number: 10, trainer: "the components are those of the model's routes", mimo: true, broken: ({ components }, names) => namesMatch(components, names) }
]

/** The first rule that a layout breaks. Without `componentNames` it is that of an ordinary model, for which fewer rules hold. */
export const brokenLayoutRule = (layout: Layout, componentNames?: ReadonlyArray<string>): Broken | undefined => {
  for (const { broken, mimo, number, trainer } of LAYOUT_RULES) {
    if (mimo && componentNames === undefined) continue
    const problem = broken(layout, componentNames ?? [])
    if (problem !== undefined) return { rule: number, trainer, ...problem }
  }
  return undefined
}

/**
 * Checks a layout; the first broken rule of {@link LAYOUT_RULES} throws.
 *
 * @throws UsageError naming the components and ranks, and what to change
 */
export const validateLayout = (layout: Layout, componentNames?: ReadonlyArray<string>): void => {
  const broken = brokenLayoutRule(layout, componentNames)
  if (broken !== undefined) throw layoutError(broken)
}

const layoutError = ({ hint, problem }: Problem): UsageError => new UsageError({ code: "usage/layout", problem, ...(hint === undefined ? {} : { hint }) })

const noLanguage = (components: ReadonlyArray<{ readonly name: string }>, expected: ReadonlyArray<string>): Problem | undefined =>
  components.some(({ name }) => name === LANGUAGE_COMPONENT) ? undefined : {
    problem: `no component "${LANGUAGE_COMPONENT}": given are ${some(components.map(({ name }) => name)) || "none"}`,
    hint: `the components of this model are ${some(expected)}`
  }

/** Rule 1 by itself, for callers that cannot complete a layout without it. Throws a UsageError. */
export const requireLanguage = (components: ReadonlyArray<{ readonly name: string }>, expected: ReadonlyArray<string>): void => {
  const problem = noLanguage(components, expected)
  if (problem !== undefined) throw layoutError(problem)
}

const expertsDivide = ({ name, parallelism: p }: LayoutComponent): Problem | undefined => {
  if ((p.tp * p.cp * p.dp) % (p.etp * p.ep) === 0) return undefined
  return {
    problem: `component ${quote(name)}: tp·cp·dp = ${p.tp * p.cp * p.dp} is not divisible by etp·ep = ${p.etp * p.ep} ` +
      `(${sizesText(p, ["tp", "cp", "dp", "etp", "ep"])})`,
    hint: "raise dp, or lower ep or etp: experts are spread over the tp·cp·dp ranks of a pipeline stage"
  }
}

/** The ranks of every component, in their order. */
const rangesOf = ({ components }: Layout) => {
  const ranges = components
    .map(({ name, parallelism: p }) => ({ name, start: p.rankOffset, end: p.rankOffset + rankCount(p) }))
    .sort((a, b) => a.start - b.start)
  return { ranges, described: (): string => some(ranges.map(({ end, name, start }) => `${name} ${rankRange(start, end - start)}`)) }
}

const rangesAreDisjoint = (layout: Layout): Problem | undefined => {
  const { described, ranges } = rangesOf(layout)
  for (const [index, { end, name: previous }] of ranges.entries()) {
    const next = ranges[index + 1]
    if (next === undefined || next.start >= end) continue
    return {
      problem: `components ${quote(previous)} and ${quote(next.name)} share ranks ${rankRange(next.start, Math.min(end, next.end) - next.start)} ` +
        `(${described()})`,
      hint: `every component needs ranks of its own: give ${quote(next.name)} rank_offset=${end}, or leave rank_offset out`
    }
  }
  return undefined
}

const rangesTile = (layout: Layout): Problem | undefined => {
  const { described, ranges } = rangesOf(layout)
  const { worldSize } = layout
  let next = 0
  for (const { end, name, start } of ranges) {
    if (start > next) {
      return {
        problem: `no component has ranks ${rankRange(next, start - next)} (${described()})`,
        hint: `give ${quote(name)} rank_offset=${next}, or leave rank_offset out`
      }
    }
    next = end
  }
  if (next === worldSize) return undefined
  return {
    problem: `the components take ${next} ranks (${described()}), the world has ${worldSize}`,
    hint: next < worldSize ? "raise dp, or lower the world size" : `lower dp, or use a world of ${next} ranks`
  }
}

const encoderIsDense = ({ name, parallelism: p }: LayoutComponent): Problem | undefined => {
  if (name === LANGUAGE_COMPONENT || (p.ep === 1 && p.etp === 1)) return undefined
  return {
    problem: `component ${quote(name)}: ${sizesText(p, ["ep", "etp"])}, but only "${LANGUAGE_COMPONENT}" can have experts`,
    hint: `leave ep and etp out for ${quote(name)}`
  }
}

const tensorParallelIsPowerOfTwo = ({ name, parallelism: { tp } }: LayoutComponent): Problem | undefined => {
  if ((tp & (tp - 1)) === 0) return undefined
  const below = 2 ** Math.floor(Math.log2(tp))
  return {
    problem: `component ${quote(name)}: tp=${tp} is not a power of two`,
    hint: `use tp=${below} or tp=${below * 2}: components exchange activations over tp groups of 1, 2, 4, 8, … ranks`
  }
}

/** Sorted by size, neighbours suffice: divisibility is transitive. */
const dataParallelSizesDivide = (components: ReadonlyArray<LayoutComponent>): Problem | undefined => {
  const sorted = [...components].sort((a, b) => a.parallelism.dp - b.parallelism.dp)
  for (const [index, small] of sorted.entries()) {
    const large = sorted[index + 1]
    if (large === undefined || large.parallelism.dp % small.parallelism.dp === 0) continue
    return {
      problem: `component ${quote(small.name)} has dp=${small.parallelism.dp}, ${quote(large.name)} has ` +
        `dp=${large.parallelism.dp}: neither divides the other`,
      hint: "change one of them so that batches can be handed over in whole parts"
    }
  }
  return undefined
}

const namesMatch = (components: ReadonlyArray<LayoutComponent>, expected: ReadonlyArray<string>): Problem | undefined => {
  const names = new Set(components.map(({ name }) => name))
  const unknown = [...names].filter((name) => !expected.includes(name))
  const missing = expected.filter((name) => !names.has(name))
  if (unknown.length === 0 && missing.length === 0) return undefined
  return {
    problem: [
      unknown.length > 0 && `this model has no component ${some(unknown)}`,
      missing.length > 0 && `no ranks are given for component ${some(missing)}`
    ].filter(Boolean).join("; "),
    hint: `the components of this model are ${some(expected)}`
  }
}
