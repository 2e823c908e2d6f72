/** A training checkpoint under another layout, as Effects: what `reshard` does. */
import { Effect } from "effect"
import { type ConversionError, type JobError, UsageError } from "../errors.ts"
import { checking } from "../io/attempt.ts"
import type { Disk } from "../io/Disk.ts"
import { type Layout, resolveLayout, STANDARD_COMPONENT, standardLayout } from "../parallel/Layout.ts"
import { type ModuleParallelism, parseComponent } from "../parallel/ModuleParallelism.ts"
import type { RngMode } from "../reshard/objects.ts"
import { prepareReshard as prepareReshardWith } from "../reshard/prepareReshard.ts"
import type { PreparedReshard, ReshardReport, ReshardRun } from "../reshard/Request.ts"
import { meter, type Watched } from "./progress.ts"
import type { StandardSizes } from "./requests.ts"

export { rngModes, type RngMode } from "../reshard/objects.ts"
export type { PreparedReshard, ReshardReport } from "../reshard/Request.ts"

/** The layout wanted, what is left behind, and how it is written. Without sizes and components the layout stays. */
export interface ReshardRequest extends StandardSizes, Partial<Pick<ModuleParallelism, "dp" | "cp">>, Watched, Partial<Omit<ReshardRun, "progress">> {
  /** `name=tp=N[,pp=N,dp=N,cp=N,ep=N,etp=N,rank_offset=N]` for each component of a MegatronMIMO checkpoint. */
  readonly components?: ReadonlyArray<string>
  /** Leave the optimizer's state, its groups and its schedules behind. */
  readonly dropOptimizer?: boolean
  /** Leave everything behind but the weights. */
  readonly onlyModel?: boolean
  /** Random states; `auto` keeps them where the tensor- and pipeline-parallel grid stays, and drops them elsewhere; `reseed` makes those of a start. */
  readonly rng?: RngMode
  /** With `rng: "reseed"`: the seed; by default that of the run. */
  readonly seed?: number
}

const SIZES = ["tp", "pp", "ep", "etp", "dp", "cp", "pipeline"] as const

/** The layout that a checkpoint is to have; undefined: the one that it has. @throws UsageError `usage/layout` */
export const layoutOf = (request: Pick<ReshardRequest, (typeof SIZES)[number] | "components">): ((names: ReadonlyArray<string>) => Layout) | undefined => {
  const sizes = Object.fromEntries(SIZES.flatMap((key) => (request[key] === undefined ? [] : [[key, request[key]]])))
  const specs = (request.components ?? []).map(parseComponent)
  const [size] = Object.keys(sizes)
  if (specs.length > 0 && size !== undefined) throw new UsageError({ code: "usage/layout", problem: `--${size} gives one layout, --component one for each component` })
  if (specs.length === 0 && size === undefined) return undefined
  return (names) => {
    const isStandard = names.length === 1 && names[0] === STANDARD_COMPONENT
    if (isStandard && specs.length > 0) throw new UsageError({ code: "usage/layout", problem: "--component: this is a standard checkpoint, without components", hint: "--tp, --pp, --ep, --etp, --dp give its one layout." })
    if (!isStandard && specs.length === 0) {
      throw new UsageError({ code: "usage/layout", problem: `--${size}: the checkpoint has the components ${names.join(", ")}, each with a layout of its own`, hint: `${names.map((name) => `--component ${name}=tp=1`).join(" ")}` })
    }
    return isStandard ? standardLayout(sizes) : resolveLayout(specs, names)
  }
}

/** Plan to reshard a checkpoint (a parent directory, or one `iter_*` folder). UsageError for a layout that the model does not fit. */
export const prepareReshard = (from: string, request: ReshardRequest = {}): Effect.Effect<PreparedReshard, ConversionError, Disk> =>
  Effect.gen(function*() {
    const { dropOptimizer = false, onlyModel = false, rng = "auto", seed } = request
    if (seed !== undefined && rng !== "reseed") return yield* new UsageError({ problem: "a seed is for random states that are made anew", hint: "--rng reseed makes them." })
    const layout = yield* checking(() => layoutOf(request))
    return yield* prepareReshardWith(from, { layout, dropOptimizer, onlyModel, rng, seed })
  })

/** What {@link reshard} would do. */
export const reshardPlan = (from: string, request: ReshardRequest = {}): Effect.Effect<ReshardReport, ConversionError, Disk> =>
  prepareReshard(from, request).pipe(Effect.map(({ report }) => report))

/**
 * Write a training checkpoint under another layout: weights, optimizer state, schedules, iteration. What a trainer loads from it is what it
 * would load from the original. Atomic: the target is complete or as it was.
 *
 * @throws UsageError for a layout that the model does not fit; Unsupported for optimizer state that only its own layout can load; OutputRefused,
 * NoSpace, IoError.
 */
export const reshard = (from: string, target: string, request: ReshardRequest = {}): Effect.Effect<ReshardReport, JobError, Disk> =>
  Effect.gen(function*() {
    const { link = false } = request
    const { forecast, run } = yield* prepareReshard(from, request)
    const { add, total } = meter("resharding", request)
    if (request.onProgress) total((yield* forecast(target, link)).bytes)
    return yield* run(target, { overwrite: false, ...request, link, progress: add })
  })
