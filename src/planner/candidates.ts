/** What could be: every layout of a model on so many GPUs that is worth a look, and the microbatches to try with it. */
import type { ModelProfile } from "../cost/profile.ts"
import { type Layout, STANDARD_COMPONENT } from "../parallel/Layout.ts"
import { LANGUAGE_COMPONENT } from "../parallel/LayoutRules.ts"
import { type LayoutComponent, type ModuleParallelism, rankCount } from "../parallel/ModuleParallelism.ts"
import { worldOf } from "../parallel/TrainingRules.ts"
import type { Gpu } from "./gpus.ts"

/** What bounds the choice. */
export interface Bounds {
  readonly cluster: { readonly gpu: Pick<Gpu, "nvlinkDomain"> }
  readonly globalBatch: number
  /** Instead of trying some. */
  readonly microBatch?: number
}

const greatestDivisor = (a: number, b: number): number => (b === 0 ? a : greatestDivisor(b, a % b))
const leastMultiple = (a: number, b: number): number => (a / greatestDivisor(a, b)) * b

const divisors = (n: number, most: number): ReadonlyArray<number> => {
  const found: Array<number> = []
  for (let d = 1; d <= Math.min(n, most); d++) if (n % d === 0) found.push(d)
  return found
}

const powersOfTwo = (most: number): ReadonlyArray<number> => Array.from({ length: Math.floor(Math.log2(Math.max(1, most))) + 1 }, (_, i) => 2 ** i)

/** Stages that are tried: all up to so many, then divisors of the layers. */
const STAGES_TRIED = 8

const sizesOf = (profile: ModelProfile, component: string, most: number, bounds: Bounds): ReadonlyArray<Omit<ModuleParallelism, "rankOffset">> => {
  const language = profile.description.modules.find((m) => m.kind === "language")
  const layers = profile.layers(component)
  const stages = layers === 0 ? [1] : [...new Set([...Array.from({ length: STAGES_TRIED }, (_, i) => i + 1), ...divisors(layers, most)])]
  const eps = profile.hasExperts && language?.kind === "language" ? divisors(language.config.num_moe_experts ?? 1, most).filter((n) => (n & (n - 1)) === 0) : [1]
  const found: Array<Omit<ModuleParallelism, "rankOffset">> = []
  for (const tp of powersOfTwo(Math.min(most, bounds.cluster.gpu.nvlinkDomain))) {
    for (const pp of stages) {
      for (const dp of divisors(bounds.globalBatch, Math.floor(most / (tp * pp)))) {
        for (const ep of eps) if ((tp * dp) % ep === 0) found.push({ tp, pp, dp, cp: 1, ep, etp: 1 })
      }
    }
  }
  return found
}

/** Encoders are tried on one stage: more only lengthen the path. */
const encoderSizes = (most: number, bounds: Bounds): ReadonlyArray<Omit<ModuleParallelism, "rankOffset">> =>
  powersOfTwo(Math.min(most, bounds.cluster.gpu.nvlinkDomain)).flatMap((tp) =>
    divisors(bounds.globalBatch, Math.floor(most / tp)).map((dp) => ({ tp, pp: 1, dp, cp: 1, ep: 1, etp: 1 })))

/** Components side by side, from rank 0. */
export const sideBySide = (components: ReadonlyArray<readonly [name: string, sizes: Omit<ModuleParallelism, "rankOffset">]>): Layout => {
  let next = 0
  const placed = components.map(([name, sizes]): LayoutComponent => {
    const rankOffset = next
    next += rankCount(sizes)
    return { name, parallelism: { ...sizes, rankOffset } }
  })
  return { worldSize: worldOf(placed), components: placed }
}

/**
 * All layouts of a model on so many GPUs: the language model first, from rank 0. `stands`: is it worth while to vary the encoders of
 * this one, whose encoders are the smallest.
 */
export function* layoutsOf(profile: ModelProfile, gpus: number, bounds: Bounds, stands: (smallest: Layout) => boolean): Generator<Layout> {
  if (profile.form === "standard") {
    for (const sizes of sizesOf(profile, STANDARD_COMPONENT, gpus, bounds)) yield sideBySide([[STANDARD_COMPONENT, sizes]])
    return
  }
  const encoders = profile.components.filter((name) => name !== LANGUAGE_COMPONENT)
  function* beside(placed: ReadonlyArray<readonly [string, Omit<ModuleParallelism, "rankOffset">]>, rest: ReadonlyArray<string>, left: number): Generator<Layout> {
    const [name, ...others] = rest
    if (name === undefined) return yield sideBySide(placed)
    for (const sizes of encoderSizes(left - others.length, bounds)) yield* beside([...placed, [name, sizes]], others, left - rankCount(sizes))
  }
  const one = { tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1 }
  for (const sizes of sizesOf(profile, LANGUAGE_COMPONENT, gpus - encoders.length, bounds)) {
    const language = [LANGUAGE_COMPONENT, sizes] as const
    if (stands(sideBySide([language, ...encoders.map((name) => [name, one] as const)]))) yield* beside([language], encoders, gpus - rankCount(sizes))
  }
}

/** The least multiple of `microBatch` that the data-parallel ranks of every component divide. */
export const leastMicroBatch = ({ components }: Layout, microBatch = 1): number =>
  components.reduce((least, { parallelism: { dp } }) => leastMultiple(least, dp), microBatch)

/** Microbatches that are tried of a layout. */
export const microBatchChoices = (profile: ModelProfile, layout: Layout, { globalBatch, microBatch }: Bounds): ReadonlyArray<number> => {
  if (microBatch !== undefined) return [microBatch]
  const base = profile.form === "mimo" ? leastMicroBatch(layout) : 1
  const whole = profile.form === "mimo" ? globalBatch : globalBatch / layout.components[0]!.parallelism.dp
  const fitting = [1, 2, 4].map((n) => n * base).filter((n) => whole % n === 0)
  return fitting.length > 0 ? fitting : [base]
}
