/** A model under a layout: what the trainer would refuse is refused, and every entry gets its pipeline stage. Pure. */
import type { ConversionModule } from "../bridge/Conversion.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import { modelChunks, type StageOf } from "../checkpoint/stageOf.ts"
import { componentOf, type Form } from "../mimo/routing.ts"
import type { Entry } from "../model/Parameter.ts"
import type { TransformerConfig } from "../model/TransformerConfig.ts"
import type { Layout, LayoutComponent } from "../parallel/Layout.ts"
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import { LANGUAGE_COMPONENT } from "../parallel/LayoutRules.ts"
import { type BuiltModule, validateModule } from "../parallel/ModelRules.ts"
import type { Provider } from "../runconfig/Provider.ts"

const configsOf = (entries: ReadonlyArray<Entry>): ReadonlyArray<TransformerConfig> =>
  [...new Set(entries.flatMap((entry) => (entry.kind === "parameter" && entry.config ? [entry.config] : [])))]

/** What the trainer builds from a component: its entries, and the class of the whole model. */
export const builtModule = ({ fields, refuses = [], target }: Provider, form: Form, component: string, entries: ReadonlyArray<Entry>): Omit<BuiltModule, "component"> => {
  const isTower = form === "mimo" && component !== LANGUAGE_COMPONENT
  return {
    configs: configsOf(entries),
    isTower,
    form,
    builder: target.split(".").at(-1)!,
    // The class builds the language model; towers have limits of their own.
    refuses: isTower ? [] : refuses,
    hybridPattern: typeof fields["hybrid_layer_pattern"] === "string",
    ...(typeof fields["seq_length"] === "number" ? { seqLength: fields["seq_length"] } : {})
  }
}

const whole = (value: unknown): number => (typeof value === "number" ? value : 0)

/** Layers of multi-token prediction that the trainer builds: none under MIMO, none where the checkpoint has none. */
const mtpLayersOf = (form: Form, { entries }: ConversionModule, { fields }: Provider): number =>
  form === "standard" && entries.some((entry) => entry.mtp) ? whole(fields["mtp_num_layers"]) : 0

export interface LaidOutModule {
  readonly module: ConversionModule
  readonly parallelism: ModuleParallelism
  readonly stageOf: StageOf
  /** Chunk c of the model is on stage `c % pp`, as its virtual stage `⌊c / pp⌋`. */
  readonly chunkOf: StageOf
}

/**
 * The modules with their parallelism and stages.
 *
 * @throws UsageError for the first rule that a component breaks
 */
export const laidOut = (
  modules: ReadonlyArray<ConversionModule>,
  { components, provider }: ModelDescription,
  form: Form,
  layout: Layout
): ReadonlyArray<LaidOutModule> => {
  const byName = new Map<string, LayoutComponent>(layout.components.map((component) => [component.name, component]))
  const towerOfStandard = (entry: Entry): boolean => {
    const component = componentOf(components, "standard", entry.kind === "state" ? entry.key : entry.name)
    return component !== undefined && component !== LANGUAGE_COMPONENT
  }
  return modules.map((module) => {
    const component = byName.get(module.name)!
    validateModule({ component, ...builtModule(provider, form, module.name, module.entries) })
    const options = { mtpLayers: mtpLayersOf(form, module, provider), ...(form === "standard" ? { isTower: towerOfStandard } : {}) }
    const { parallelism } = component
    const chunkOf = modelChunks(parallelism, module.entries, options)
    return { module, parallelism, chunkOf, stageOf: (entry) => chunkOf(entry) % parallelism.pp }
  })
}

/** A layout string asks for the rank in the pipeline from global state, which the trainer of MIMO models leaves unset. */
export const layoutNotes = (form: Form, layout: Layout): ReadonlyArray<string> =>
  form === "mimo" && layout.components.some(({ parallelism }) => parallelism.pipeline?.layout !== undefined)
    ? ["Megatron-Core reads an explicit pipeline layout by the global pipeline rank, which MegatronMIMO does not set: no released trainer builds this model yet (first_stage_layers, last_stage_layers and *_as_stage work)"]
    : []
