/** What of a checkpoint is kept, in which form, and under which layout: everything that is decided before files are planned. */
import { Effect } from "effect"
import { join } from "node:path"
import type { TrainingArguments } from "../arguments/TrainingArguments.ts"
import type { Checkpoint } from "../space/Checkpoint.ts"
import type { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import type { CommonChange } from "../checkpoint/CommonStateEdit.ts"
import { COMMON_STATE, RUN_CONFIG } from "../checkpoint/names.ts"
import { readOwn } from "../checkpoint/ownFile.ts"
import type { StoredArrays } from "../checkpoint/StoredArrays.ts"
import type { ChangedTensors } from "../convert/ValueChanges.ts"
import { atPath } from "../document/decode.ts"
import { converting } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { modalityOf, unwrapKey } from "../model/storedKey.ts"
import { describeLayout, type Layout, resolveLayout, STANDARD_COMPONENT } from "../parallel/Layout.ts"
import { LANGUAGE } from "../runconfig/parallelism.ts"
import { RunConfigEdit } from "../runconfig/RunConfigEdit.ts"
import { LARGEST_RUN_CONFIG } from "../runconfig/RunConfigFile.ts"
import { readRunConfig } from "../space/megatronSpace.ts"
import { entriesOf } from "../space/sortKeys.ts"
import type { ItemsPlace, SpaceTensor, TensorSpace } from "../space/TensorSpace.ts"
import type { PyRead } from "../torch/PyValue.ts"
import { argumentChanges } from "./argumentChanges.ts"
import { commonChange, type CommonFacts } from "./commonChange.ts"
import { type Content, storedContent } from "./Contents.ts"
import { KeyFacts } from "./keyFacts.ts"
import { recordedAs, sameBuckets, sameCut, type SourceLayout, sourceLayouts } from "./layouts.ts"
import { keptObjects, type KeptObjects } from "./objects.ts"
import { regrouped, separatesExperts } from "./optimizer/expertGroups.ts"
import { optimizerState } from "./optimizer/forms.ts"
import type { OptimizerState } from "./optimizer/OptimizerState.ts"
import { pipelineOf } from "./placing.ts"
import { reseededStates, type Seeding, seedingOf } from "./random/reseeded.ts"
import type { ReshardOptions, ReshardReport } from "./Request.ts"
import { type ComponentPlan, placedContents, type ReshardPlan, planReshard } from "./ReshardPlan.ts"

export interface Prepared {
  readonly layout: Layout
  readonly facts: Pick<ReshardReport, "before" | "optimizer" | "optimizerTensors" | "rng" | "notes">
  readonly changeCommon: CommonChange
  readonly iteration: number
  /** The run configuration, changed; undefined where there is none. */
  readonly runConfig: string | undefined
  /** With the chunks of the selection read, and the item of the new common state. */
  readonly plan: (arrays: StoredArrays, common: Uint8Array | undefined) => ReshardPlan
}

/** The component of any entry. */
const componentsIn = ({ form }: Checkpoint): ((key: string) => string) => {
  if (form === "standard") return () => STANDARD_COMPONENT
  return (key) => {
    const prefix = /^(?:mimo|rng_state)\.([^./]+)/.exec(key)?.[1]
    return prefix ?? modalityOf(unwrapKey(key)) ?? LANGUAGE
  }
}

interface Layouts {
  readonly layout: Layout
  readonly components: ReadonlyMap<string, ComponentPlan>
}

/** By the keys they are stored under, without wrappers. */
const modelTensors = ({ tensors }: TensorSpace<ItemsPlace>): ReadonlyMap<string, SpaceTensor<ItemsPlace>> =>
  new Map([...tensors].flatMap(([key, tensor]) => (tensor.role === "model" ? [[unwrapKey(key), tensor] as const] : [])))

const laidOut = (tensors: ReadonlyMap<string, SpaceTensor<ItemsPlace>>, facts: KeyFacts, componentOf: (key: string) => string, recorded: ReadonlyMap<string, SourceLayout>, wanted: ReshardOptions["layout"]): Layouts => {
  const keys = [...tensors.keys()]
  const names = [...new Set(keys.map(componentOf))].sort((a, b) => Number(b === LANGUAGE) - Number(a === LANGUAGE))
  const layout = wanted ? wanted(names) : recordedAs(names, recorded, (all) => resolveLayout([], all))
  const components = new Map(layout.components.map(({ name, parallelism }): [string, ComponentPlan] => {
    const positions = keys.filter((key) => componentOf(key) === name).map((key) => facts.positionOf(key, 0))
    const before = recorded.get(name)?.parallelism
    const unchanged = !wanted || (before !== undefined && sameCut(before, parallelism, facts.hasExperts))
    return [name, { parallelism, stageOf: pipelineOf(parallelism, positions), unchanged }]
  }))
  return { layout, components }
}

/** Tensors that are neither the optimizer's nor a random state. */
const plainContents = ({ tensors }: TensorSpace<ItemsPlace>, componentOf: (key: string) => string): ReadonlyArray<Content> =>
  [...tensors].flatMap(([key, tensor]) => {
    const { role } = tensor
    if (role === "optimizer" || role === "rng") return []
    const content = storedContent(tensor, unwrapKey(key), componentOf(key))
    return [role === "carried" ? { ...content, beside: true } : content]
  })

const changedRunConfig = async (store: Parameters<typeof readOwn>[0], directory: string, layout: Layout, kept: Parameters<RunConfigEdit["toSaved"]>[0]): Promise<string> => {
  const bytes = await readOwn(store, directory, RUN_CONFIG, LARGEST_RUN_CONFIG)
  return atPath(join(directory, RUN_CONFIG), () => {
    const edit = new RunConfigEdit(bytes)
    edit.toLayout(layout.components)
    edit.toSaved(kept)
    return edit.toString()
  })
}

const isConverted = ({ from, to }: OptimizerState): boolean => from !== to

/** Of a standard model whose layout changes; the components of a MegatronMIMO model keep groups in objects of their own. */
const regrouping = (components: ReadonlyMap<string, ComponentPlan>, facts: KeyFacts, form: Checkpoint["form"], { layout }: ReshardOptions): CommonFacts["optimizer"] => {
  const plan = components.values().next().value
  if (!layout || !plan || form === "mimo") return (optimizer) => optimizer
  return (optimizer) => regrouped(optimizer, separatesExperts(plan.parallelism, facts.hasExperts), facts.expertsHaveVectors)
}

const notesOf = (before: ReadonlyMap<string, SourceLayout>, kept: KeptObjects, { onlyModel, rng }: ReshardOptions, seeding: Seeding | undefined, optimizer: OptimizerState | undefined): ReadonlyArray<string> => [
  ...(before.size === 0 ? ["the checkpoint does not say under which layout it was saved; everything is placed anew"] : []),
  ...(kept.rng === "dropped" && (rng === "auto" || rng === "keep") && !onlyModel ? ["random states are left out: each belongs to one rank of the former tensor- and pipeline-parallel grid; a trainer goes on with those of its own start"] : []),
  ...(seeding ? [`random states are those of a start with --seed ${seeding.seed} under this layout, not those that the run had come to`] : []),
  ...(kept.rerunDropped ? ["the rerun state machine's records are left out: each belongs to one rank of the former layout"] : []),
  ...(optimizer?.notes ?? [])
]

const iterationIn = (common: PyRead | undefined): number => {
  const found = common instanceof Map ? (common as ReadonlyMap<PyRead, PyRead>).get("iteration") : undefined
  return typeof found === "number" && found >= 0 ? found : 0
}

/** Decide everything; the chunks that the plan needs are added to `selection`. */
export const preparedState = Effect.fnUntraced(function*(
  checkpoint: Checkpoint,
  { args, common }: { readonly args: TrainingArguments | undefined; readonly common: PyRead | undefined },
  options: ReshardOptions & { readonly changed: ChangedTensors | undefined },
  selection: ChunkSelection
) {
  const store = yield* storeInUse
  const { directory, metadata } = checkpoint
  const runConfig = yield* converting(() => readRunConfig(store, directory))
  const recorded = yield* converting(() => sourceLayouts(args, runConfig))
  const entries = entriesOf(checkpoint)
  const model = modelTensors(entries)
  const facts = new KeyFacts(model)
  const componentOf = componentsIn(checkpoint)
  const { components, layout } = yield* converting(() => laidOut(model, facts, componentOf, recorded, options.layout))
  const [{ name: firstName, parallelism }] = layout.components as [Layout["components"][number]]
  const allUnchanged = [...components.values()].every(({ unchanged }) => unchanged)
  const before = recorded.get(firstName)?.parallelism
  const bucketsStay = options.layout !== undefined && allUnchanged && before !== undefined && sameBuckets(args, before, parallelism)
  const dropsOptimizer = options.dropOptimizer || options.onlyModel
  const optimizer = dropsOptimizer ? undefined : yield* optimizerState({ checkpoint, entries, models: model, facts, componentOf, recorded, common, args, bucketsStay })
  const kept = yield* converting(() =>
    keptObjects(metadata.objects, facts, components, componentOf, {
      optimizer: !dropsOptimizer,
      rng: options.onlyModel ? "drop" : options.rng,
      replaced: optimizer?.replaced ?? new Set()
    }))
  const seeding = options.rng === "reseed" && !options.onlyModel ? yield* converting(() => seedingOf(args, runConfig, options.seed)) : undefined
  const reseeded = seeding ? [...components].flatMap(([name, { parallelism }]) => reseededStates(seeding, parallelism, checkpoint.form === "mimo" ? name : undefined)) : []
  const contents = [...plainContents(entries, componentOf), ...(optimizer?.contents ?? [])]
  const placed = yield* converting(() => placedContents(contents, facts, components, { selection, changed: options.changed }))
  const keeps = { optimizer: !dropsOptimizer, rng: seeding ? true : kept.rng === "dropped" ? false : undefined }
  const argumentsNow = args && argumentChanges(args, options.layout ? parallelism : undefined, {
    ...keeps,
    hasExperts: facts.hasExperts,
    numLayers: args.number("num_layers") ?? 0,
    fullyReshardable: optimizer !== undefined && isConverted(optimizer)
  })
  const regroup = regrouping(components, facts, checkpoint.form, options)
  const common0: CommonFacts = {
    args: argumentsNow,
    dropsOptimizer,
    dropsRerun: kept.rerunDropped || options.onlyModel,
    converted: optimizer !== undefined && isConverted(optimizer),
    optimizer: (old) => regroup(optimizer ? optimizer.optimizer(old) : old)
  }
  const first = components.values().next().value!.parallelism.rankOffset
  return {
    layout,
    facts: {
      before: describeLayout({ worldSize: 0, components: [...recorded].map(([name, { parallelism: own }]) => ({ name, parallelism: own })) }),
      optimizerTensors: optimizer?.contents.length ?? 0,
      ...(optimizer && optimizer.contents.length > 0 ? { optimizer: { from: optimizer.from, to: optimizer.to } } : {}),
      rng: seeding ? "reseeded" : kept.rng,
      notes: [...checkpoint.notes, ...notesOf(recorded, kept, options, seeding, optimizer)]
    },
    changeCommon: commonChange(common0),
    iteration: iterationIn(common),
    runConfig: runConfig && (yield* converting(() => changedRunConfig(store, directory, layout, keeps))),
    plan: (arrays, item) => planReshard(placed, {
      contents,
      objects: [
        ...kept.objects,
        ...reseeded.map((state) => ({ ...state, stays: false })),
        ...(optimizer?.objects ?? []).map(({ bytes, component, key }) => ({ key, bytes, rank: components.get(component)!.parallelism.rankOffset, stays: false })),
        ...(metadata.objects.has(COMMON_STATE) ? [{ key: COMMON_STATE, rank: first, stays: allUnchanged, ...(item ? { bytes: item } : { stored: metadata.objects.get(COMMON_STATE)! }) }] : [])
      ]
    }, arrays, { metadata, pathOf: (file) => join(directory, file) })
  } satisfies Prepared
})
