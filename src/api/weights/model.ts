/** A model under a layout, as the list of its conversion tasks. */
import { Effect } from "effect"
import { bind } from "../../bridge/Conversion.ts"
import type { FamilyRegistry } from "../../bridge/FamilyRegistry.ts"
import type { ModelDescription } from "../../bridge/Family.ts"
import { namedModel } from "../../convert/exportModel.ts"
import { type ConversionError, quote, UsageError } from "../../errors.ts"
import { checking, planning } from "../../io/attempt.ts"
import type { Disk } from "../../io/Disk.ts"
import type { Form } from "../../mimo/routing.ts"
import { formOf, modulesOf } from "../../plan/describe.ts"
import { laidOut } from "../../plan/layoutChecks.ts"
import { describeModel } from "../../space/describeModel.ts"
import { type HfConfig, headersOf, noHeaders } from "../../space/HfSource.ts"
import type { HfWeights } from "../../space/HfWeights.ts"
import { kindOfPath } from "../../space/openSpace.ts"
import { openedWeights } from "../../space/openedWeights.ts"
import { freezeSet, frozenTensors } from "../../plan/FreezeSet.ts"
import { type PlacedTask, placedTasks, type WeightConversionTask } from "../../weights/tasks.ts"
import { type Arrangement, arrange, familiesOf, type WithFamilies } from "../requests.ts"

export type { TaskMapping, WeightConversionTask } from "../../weights/tasks.ts"

/** Changes the list of a model's parameters: what trains, and what there is. */
export type TableHook = (table: ReadonlyArray<WeightConversionTask>) => ReadonlyArray<WeightConversionTask>

/** How a model is cut, and what of it does not train. */
export interface WeightLayout extends WithFamilies, Arrangement {
  /** Parts by name (`router`, `language`, `images`, `images.projector`, `encoders`, `projections`), or patterns of parameters with a `*`. */
  readonly freeze?: ReadonlyArray<string>
  /** Run one after the other over the list of parameters; rows are known by their global names. */
  readonly hooks?: ReadonlyArray<TableHook>
}

/** A model that was described by its directory. */
export interface DescribedWeights {
  readonly config: HfConfig
  readonly description: ModelDescription
  readonly form: Form
  /** Its tensors, quantised ones seen as values; undefined: config.json is all there is. */
  readonly weights: HfWeights | undefined
  readonly tasks: ReadonlyArray<PlacedTask>
}

const hooked = (tasks: ReadonlyArray<PlacedTask>, hooks: ReadonlyArray<TableHook>): ReadonlyArray<PlacedTask> => {
  if (hooks.length === 0) return tasks
  const placed = new Map(tasks.map((task) => [task.task.globalParamName, task]))
  return hooks.reduce<ReadonlyArray<WeightConversionTask>>((table, hook) => hook(table), tasks.map(({ task }) => task)).map((task) => {
    const own = placed.get(task.globalParamName)
    if (own === undefined) throw new UsageError({ problem: `a hook made a row ${quote(task.globalParamName)}, which is no parameter of the model` })
    return { ...own, task }
  })
}

/** What a directory describes, and its tensors where it has any. Reads headers only. */
const describeDirectory = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string) {
  const { config, weights: stored } = yield* namedModel(families, hfModel)
  return yield* planning(() => {
    const weights = stored && openedWeights(stored, config)
    return { config, weights, description: describeModel(families.find(config.json, config.path), config, weights ? headersOf(weights) : noHeaders) }
  })
})

/**
 * The tensors that stay as they are while these parts are frozen, under all their names. The model is described by the first of
 * `directories` that is one of Hugging Face.
 *
 * @throws UsageError where none is; for parts that the model does not have
 */
export const frozenNames = Effect.fnUntraced(function*(families: FamilyRegistry, parts: ReadonlyArray<string>, directories: ReadonlyArray<string>) {
  for (const directory of directories) {
    if ((yield* kindOfPath(directory)) !== "safetensors") continue
    const { description } = yield* describeDirectory(families, directory)
    return (yield* planning(() => frozenTensors(description, parts))).names
  }
  return yield* new UsageError({ problem: "which tensors are frozen follows from the model's config.json, and none is named", hint: "--hf-model DIR" })
})

/** Describe a directory, of which config.json is enough; `form` of a checkpoint that is there. Reads headers only. */
export const describeWeights = (hfModel: string, request: WeightLayout, form?: Form): Effect.Effect<DescribedWeights, ConversionError, Disk> =>
  Effect.gen(function*() {
    const families = familiesOf(request)
    const arranged = yield* checking(() => arrange(request))
    const { config, description, weights } = yield* describeDirectory(families, hfModel)
    return yield* planning(() => {
      const own = form ?? formOf(arranged.form, description)
      const modules = modulesOf(own, description)
      const placed = laidOut(modules, description, own, arranged.layout(modules.map(({ name }) => name)))
      const tasks = placedTasks(bind(modules).parameters, placed, freezeSet(description, own, request.freeze ?? []))
      return { config, description, form: own, weights, tasks: hooked(tasks, request.hooks ?? []) }
    })
  })

/**
 * What a conversion of the model consists of: one task for each Megatron parameter, in the order of the model, with the ranks of a layout
 * that have it. From config.json, and the headers of weights where there are any.
 */
export const weightTasks = (hfModel: string, request: WeightLayout = {}): Effect.Effect<ReadonlyArray<WeightConversionTask>, ConversionError, Disk> =>
  Effect.map(describeWeights(hfModel, request), ({ tasks }) => tasks.map(({ task }) => task))
