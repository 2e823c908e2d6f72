/** The model that adapters are for: its family, its weights' names and shapes, and what Megatron's parameters are made of. */
import { Effect } from "effect"
import { bind, type Conversion, type ConversionModule } from "../bridge/Conversion.ts"
import type { Family, ModelDescription } from "../bridge/Family.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { converting } from "../io/attempt.ts"
import type { Form } from "../mimo/routing.ts"
import { formOf, modulesOf } from "../plan/describe.ts"
import { logicalWeights } from "../plan/exportRelation.ts"
import { describeModel } from "../space/describeModel.ts"
import { type HfConfig, headersOf, noHeaders, openHfModel } from "../space/HfSource.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import type { StoredWeights } from "../space/StoredWeights.ts"

export interface BaseModel {
  readonly family: Family
  readonly config: HfConfig
  readonly stored: StoredWeights | undefined
  /** As if nothing were quantised. */
  readonly weights: HfWeights | undefined
  readonly description: ModelDescription
  /** Form and modules of a Megatron model, as it is wanted or, `auto`, as it is. */
  readonly as: (form: Form | "auto") => AdaptedModel
}

export interface AdaptedModel {
  readonly form: Form
  readonly modules: ReadonlyArray<ConversionModule>
  readonly conversion: Conversion
}

/** Open the directory `hfModel`, whose weights may be absent. Errors: those of an export's --hf-model. */
export const openBase = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string) {
  const { config, weights: stored } = yield* openHfModel(hfModel, families)
  return yield* converting((): BaseModel => {
    const family = families.find(config.json, config.path)
    const weights = logicalWeights(stored, config)
    const description = describeModel(family, config, weights ? headersOf(weights) : noHeaders)
    const as = (wanted: Form | "auto"): AdaptedModel => {
      const form = description.components.length === 0 ? "standard" : formOf(wanted, description)
      const modules = modulesOf(form, description).map((m): ConversionModule => ({ ...m, entries: m.entries.filter((e) => e.kind === "parameter") }))
      return { form, modules, conversion: bind(modules) }
    }
    return { family, config, stored, weights, description, as }
  })
})
