/**
 * What makes a layout one that the trainer accepts.
 *
 * Several of these rules are about training only: that tp is a power of two and that dp sizes divide each other matters to
 * the communicators between components, not to any byte of a checkpoint. They are enforced all the same. The reference
 * converter builds the very model the trainer builds and runs the same validation on the way, and the layout it records in
 * `run_config.yaml` is validated again by whoever loads it: a layout refused there is of no use here.
 */
import { quote, some, UsageError } from "../errors.ts"
import { checkSizes, type Layout, type LayoutComponent, rankCount, rankRange, sizes } from "./ModuleParallelism.ts"

/** Every MegatronMIMO model has a component of this name; all others are encoders that feed it. */
export const LANGUAGE_COMPONENT = "language"

/**
 * Checks a layout; the first broken rule throws.
 *
 * **Details**
 *
 * In this order:
 * 1. there is a component `language`;
 * 2. sizes are whole numbers from 1, offsets from 0, all below the largest world;
 * 3. `tp·cp·dp` is divisible by `etp·ep`, so that experts are copied a whole number of times;
 * 4. the rank ranges tile `0..worldSize-1`, without a gap or an overlap, in whatever order the components are listed;
 * 5. encoders are dense: ep=etp=1;
 * 6. every tp is a power of two;
 * 7. of any two dp sizes one divides the other;
 * 8. the components are exactly those of the model.
 *
 * What a model demands of its layout continues the numbers in ModelRules.ts.
 *
 * Without `componentNames` the layout is that of an ordinary model, for which only 2, 3 and 4 hold.
 *
 * @throws UsageError naming the components and ranks, and what to change
 */
export const validateLayout = (layout: Layout, componentNames?: ReadonlyArray<string>): void => {
  const { components } = layout
  if (componentNames !== undefined) requireLanguage(components, componentNames)
  for (const { name, parallelism } of components) checkSizes({ name, ...parallelism })
  components.forEach(expertsDivide)
  rangesTile(layout)
  if (componentNames === undefined) return
  components.forEach(encoderIsDense)
  components.forEach(tensorParallelIsPowerOfTwo)
  dataParallelSizesDivide(components)
  namesMatch(components, componentNames)
}

/** Rule 1 by itself, for callers that cannot complete a layout without it. Throws a UsageError. */
export const requireLanguage = (
  components: ReadonlyArray<{ readonly name: string }>,
  expected: ReadonlyArray<string>
): void => {
  if (components.some(({ name }) => name === LANGUAGE_COMPONENT)) return
  throw new UsageError({ code: "usage/layout",
    problem: `no component "${LANGUAGE_COMPONENT}": given are ${some(components.map(({ name }) => name)) || "none"}`,
    hint: `the components of this model are ${some(expected)}`
  })
}

const expertsDivide = ({ name, parallelism: p }: LayoutComponent): void => {
  if ((p.tp * p.cp * p.dp) % (p.etp * p.ep) === 0) return
  throw new UsageError({ code: "usage/layout",
    problem: `component ${quote(name)}: tp·cp·dp = ${p.tp * p.cp * p.dp} is not divisible by etp·ep = ${p.etp * p.ep} ` +
      `(${sizes(p, ["tp", "cp", "dp", "etp", "ep"])})`,
    hint: "raise dp, or lower ep or etp: experts are spread over the tp·cp·dp ranks of a pipeline stage"
  })
}

const rangesTile = ({ components, worldSize }: Layout): void => {
  const ranges = components
    .map(({ name, parallelism: p }) => ({ name, start: p.rankOffset, end: p.rankOffset + rankCount(p) }))
    .sort((a, b) => a.start - b.start)
  const described = some(ranges.map(({ end, name, start }) => `${name} ${rankRange(start, end - start)}`))
  let next = 0
  let previous = ""
  for (const { end, name, start } of ranges) {
    if (start < next) {
      throw new UsageError({ code: "usage/layout",
        problem: `components ${quote(previous)} and ${quote(name)} share ranks ${rankRange(start, Math.min(next, end) - start)} ` +
          `(${described})`,
        hint: `every component needs ranks of its own: give ${quote(name)} rank_offset=${next}, or leave rank_offset out`
      })
    }
    if (start > next) {
      throw new UsageError({ code: "usage/layout",
        problem: `no component has ranks ${rankRange(next, start - next)} (${described})`,
        hint: `give ${quote(name)} rank_offset=${next}, or leave rank_offset out`
      })
    }
    next = end
    previous = name
  }
  if (next !== worldSize) {
    throw new UsageError({ code: "usage/layout",
      problem: `the components take ${next} ranks (${described}), the world has ${worldSize}`,
      hint: next < worldSize ? "raise dp, or lower the world size" : `lower dp, or use a world of ${next} ranks`
    })
  }
}

const encoderIsDense = ({ name, parallelism: p }: LayoutComponent): void => {
  if (name === LANGUAGE_COMPONENT || (p.ep === 1 && p.etp === 1)) return
  throw new UsageError({ code: "usage/layout",
    problem: `component ${quote(name)}: ${sizes(p, ["ep", "etp"])}, but only "${LANGUAGE_COMPONENT}" can have experts`,
    hint: `leave ep and etp out for ${quote(name)}`
  })
}

const tensorParallelIsPowerOfTwo = ({ name, parallelism: { tp } }: LayoutComponent): void => {
  if ((tp & (tp - 1)) === 0) return
  const below = 2 ** Math.floor(Math.log2(tp))
  throw new UsageError({ code: "usage/layout",
    problem: `component ${quote(name)}: tp=${tp} is not a power of two`,
    hint: `use tp=${below} or tp=${below * 2}: components exchange activations over tp groups of 1, 2, 4, 8, … ranks`
  })
}

/** Sorted by size, neighbours suffice: divisibility is transitive. */
const dataParallelSizesDivide = (components: ReadonlyArray<LayoutComponent>): void => {
  const sorted = [...components].sort((a, b) => a.parallelism.dp - b.parallelism.dp)
  for (const [index, small] of sorted.entries()) {
    const large = sorted[index + 1]
    if (large === undefined || large.parallelism.dp % small.parallelism.dp === 0) continue
    throw new UsageError({ code: "usage/layout",
      problem: `component ${quote(small.name)} has dp=${small.parallelism.dp}, ${quote(large.name)} has ` +
        `dp=${large.parallelism.dp}: neither divides the other`,
      hint: "change one of them so that batches can be handed over in whole parts"
    })
  }
}

const namesMatch = (components: ReadonlyArray<LayoutComponent>, expected: ReadonlyArray<string>): void => {
  const names = new Set(components.map(({ name }) => name))
  const unknown = [...names].filter((name) => !expected.includes(name))
  const missing = expected.filter((name) => !names.has(name))
  if (unknown.length === 0 && missing.length === 0) return
  throw new UsageError({ code: "usage/layout",
    problem: [
      unknown.length > 0 && `this model has no component ${some(unknown)}`,
      missing.length > 0 && `no ranks are given for component ${some(missing)}`
    ].filter(Boolean).join("; "),
    hint: `the components of this model are ${some(expected)}`
  })
}
