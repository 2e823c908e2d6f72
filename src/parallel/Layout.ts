/**
 * Which component of a model lives on which ranks.
 *
 * On disk a `torch_dist` checkpoint does not depend on this: tensors are global. The layout decides how tensors are cut
 * into chunks, which rank's file each chunk goes to, and what `run_config.yaml` records.
 */
import { quote, UsageError } from "../errors.ts"
import { requireLanguage, validateLayout } from "./LayoutRules.ts"
import {
  type Layout,
  type LayoutComponent,
  checkSizes,
  type ComponentSpec,
  defaultSpec,
  MAX_RANKS,
  modelParallelSize,
  type ModuleParallelism,
  rankCount,
  rankRange,
  sizesText
} from "./ModuleParallelism.ts"

export type { Layout, LayoutComponent }

export interface LayoutOptions {
  /** Number of ranks to fill, when it is known. */
  readonly worldSize?: number
}

/**
 * Completes `--component` flags to a layout and validates it.
 *
 * **Details**
 *
 * - No flags: every component of `componentNames` with tp=1.
 * - World size known and some `dp` left out: the reference's rule. Every component without `dp` gets `world / components`
 *   ranks, and `dp` is what remains of them after tp·pp·cp.
 * - World size unknown (nothing launches ranks here): a missing `dp` is the smallest legal one, 1 unless `ep·etp` asks for
 *   more ranks than tp·cp gives. Where the reference is launched with as few ranks as its flags need, both rules agree.
 * - A missing `rank_offset` is the next free rank, in the order of the flags, passing over ranges given explicitly.
 *
 * **Gotchas**
 *
 * An explicit `rank_offset` always holds. The reference overwrites it when `dp` is left out, and takes 0 for an omitted
 * offset when `dp` is given.
 *
 * **Example** (four language ranks, then one for images)
 *
 * ```ts
 * const flags = ["language=tp=2,pp=2", "images=tp=1"]
 * describeLayout(resolveLayout(flags.map(parseComponent), ["language", "images"])).map(({ ranks }) => ranks)
 * // => ["0-3", "4"]
 * ```
 *
 * @param componentNames the components of the model, i.e. its routes; `language` is among them
 * @throws UsageError for the first rule broken, in the order of {@link validateLayout}
 */
export const resolveLayout = (specs: ReadonlyArray<ComponentSpec>, componentNames: ReadonlyArray<string>, options: LayoutOptions = {}): Layout => {
  const layout = completeLayout(specs, componentNames, options)
  validateLayout(layout, componentNames)
  return layout
}

/**
 * {@link resolveLayout} for callers that want to know which rules a layout breaks: it is completed, and not held against them.
 *
 * @throws UsageError where nothing can be completed: no language model, a component given twice, sizes that are none
 */
export const completeLayout = (specs: ReadonlyArray<ComponentSpec>, componentNames: ReadonlyArray<string>, { worldSize }: LayoutOptions = {}): Layout => {
  checkWorldSize(worldSize)
  const wanted = specs.length > 0 ? specs : componentNames.map(defaultSpec)
  requireLanguage(wanted, componentNames)
  const seen = new Set<string>()
  for (const spec of wanted) {
    if (seen.has(spec.name)) throw new UsageError({ code: "usage/layout", problem: `component ${quote(spec.name)} is given twice` })
    seen.add(spec.name)
    checkSizes(spec)
  }
  return place(withDp(wanted, worldSize), worldSize)
}

/** The name of the only component of a {@link standardLayout}. */
export const STANDARD_COMPONENT = "model"

/**
 * The layout of an ordinary (not MegatronMIMO) model: one component on all ranks.
 *
 * **Details**
 *
 * The rules of the reference's `convert.sh`: the world is divisible by `tp·pp` (here `tp·pp·cp`) and by `etp·ep·pp`.
 * Sizes not given are 1, also `etp` (Megatron-LM itself would take tp). A missing `dp` fills `worldSize`, or is the smallest
 * legal one if that is unknown.
 *
 * @throws UsageError naming the sizes that do not fit
 */
export const standardLayout = (
  given: Partial<Omit<ModuleParallelism, "rankOffset">> = {},
  { worldSize }: LayoutOptions = {}
): Layout => {
  checkWorldSize(worldSize)
  const spec: ComponentSpec = { ...defaultSpec(STANDARD_COMPONENT), ...given }
  checkSizes(spec)
  const layout = place(withDp([spec], worldSize), worldSize)
  validateLayout(layout)
  return layout
}

/** One printable line per component; `ranks` is e.g. `0-3`, or `4` for a single one. */
export interface LayoutRow extends Omit<ModuleParallelism, "rankOffset"> {
  readonly component: string
  readonly ranks: string
}

/** A layout as rows for printing, in the order of its components. */
export const describeLayout = ({ components }: Layout): ReadonlyArray<LayoutRow> =>
  components.map(({ name, parallelism }) => {
    const { cp, dp, ep, etp, pipeline, pp, rankOffset, tp } = parallelism
    return { component: name, tp, pp, dp, cp, ep, etp, ranks: rankRange(rankOffset, rankCount(parallelism)), ...(pipeline ? { pipeline } : {}) }
  })

type Filled = ComponentSpec & { readonly dp: number }

const checkWorldSize = (worldSize: number | undefined): void => {
  if (worldSize === undefined || (Number.isInteger(worldSize) && worldSize >= 1 && worldSize <= MAX_RANKS)) return
  throw new UsageError({ code: "usage/layout", problem: `the world size must be a whole number from 1 to ${MAX_RANKS}, not ${worldSize}` })
}

const withDp = (specs: ReadonlyArray<ComponentSpec>, worldSize: number | undefined): ReadonlyArray<Filled> =>
  worldSize === undefined ? specs.map(withSmallestDp) : withEvenShare(specs, worldSize)

const withSmallestDp = (spec: ComponentSpec): Filled => {
  const expertRanks = spec.ep * spec.etp
  return { ...spec, dp: spec.dp ?? expertRanks / greatestCommonDivisor(spec.tp * spec.cp, expertRanks) }
}

const withEvenShare = (specs: ReadonlyArray<ComponentSpec>, worldSize: number): ReadonlyArray<Filled> => {
  const share = worldSize / specs.length
  return specs.map((spec) => {
    if (spec.dp !== undefined) return { ...spec, dp: spec.dp }
    if (!Number.isInteger(share)) {
      throw new UsageError({ code: "usage/layout",
        problem: `${worldSize} ranks cannot be shared evenly by ${specs.length} components`,
        hint: `give dp and rank_offset for every component (${quote(spec.name)} has no dp)`
      })
    }
    const dp = share / modelParallelSize(spec)
    if (!Number.isInteger(dp)) {
      throw new UsageError({ code: "usage/layout",
        problem: `component ${quote(spec.name)}: its ${share} ranks are not divisible by tp·pp·cp = ` +
          `${modelParallelSize(spec)} (${sizesText(spec, ["tp", "pp", "cp"])})`,
        hint: "give dp for every component, or change its sizes or the world size"
      })
    }
    return { ...spec, dp }
  })
}

/** Gives every component without an offset the next free ranks. Overlaps among explicit ones are left to the validation. */
const place = (specs: ReadonlyArray<Filled>, worldSize: number | undefined): Layout => {
  const taken = specs
    .flatMap((spec) => spec.rankOffset === undefined ? [] : [[spec.rankOffset, spec.rankOffset + rankCount(spec)] as const])
    .sort(([a], [b]) => a - b)
  let next = 0
  const nextFree = (ranks: number): number => {
    for (const [start, end] of taken) if (start < next + ranks && next < end) next = end
    next += ranks
    return next - ranks
  }
  const components = specs.map((spec): LayoutComponent => {
    const { cp, dp, ep, etp, name, pipeline, pp, tp } = spec
    const rankOffset = spec.rankOffset ?? nextFree(rankCount(spec))
    return { name, parallelism: { tp, pp, dp, cp, ep, etp, rankOffset, ...(pipeline ? { pipeline } : {}) } }
  })
  const end = components.reduce((most, { parallelism: p }) => Math.max(most, p.rankOffset + rankCount(p)), 0)
  return { worldSize: worldSize ?? end, components }
}

const greatestCommonDivisor = (a: number, b: number): number => {
  while (b !== 0) [a, b] = [b, a % b]
  return a
}
