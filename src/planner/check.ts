/** A layout against every rule: the trainer's of layouts, of models, of training. The user's own and each of a search are asked alike. */
import type { ModelProfile } from "../cost/profile.ts"
import { componentOf } from "../mimo/routing.ts"
import type { Entry } from "../model/Parameter.ts"
import type { Layout } from "../parallel/Layout.ts"
import { type Broken, brokenLayoutRule, LANGUAGE_COMPONENT } from "../parallel/LayoutRules.ts"
import { brokenModuleRule, type BuiltModule } from "../parallel/ModelRules.ts"
import { brokenTrainingRule, type TrainingFacts } from "../parallel/TrainingRules.ts"
import { builtModule } from "../plan/layoutChecks.ts"

const builtModules = new WeakMap<ModelProfile, ReadonlyMap<string, Omit<BuiltModule, "component">>>()

const builtOf = (profile: ModelProfile): ReadonlyMap<string, Omit<BuiltModule, "component">> => {
  const known = builtModules.get(profile)
  if (known !== undefined) return known
  const { components, model, provider } = profile.description
  const nameOf = (entry: Entry): string => profile.form === "standard" ? profile.components[0]!
    : componentOf(components, "standard", entry.kind === "state" ? entry.key : entry.name) ?? LANGUAGE_COMPONENT
  const byComponent = Map.groupBy(model, nameOf)
  const made = new Map(profile.components.map((name) => [name, builtModule(provider, profile.form, name, byComponent.get(name) ?? [])]))
  builtModules.set(profile, made)
  return made
}

/** Everything but the rules that layouts have by themselves. */
const brokenOfModel = (profile: ModelProfile, layout: Layout, sequenceLength: number): Broken | undefined => {
  const built = builtOf(profile)
  for (const component of layout.components) {
    const module = built.get(component.name)
    const broken = module === undefined ? undefined : brokenModuleRule({ ...module, component, seqLength: sequenceLength })
    if (broken !== undefined) return broken
  }
  return undefined
}

/** The first rule that a layout breaks however it is run. */
export const brokenByLayout = (profile: ModelProfile, layout: Layout, sequenceLength: number): Broken | undefined =>
  brokenLayoutRule(layout, profile.form === "mimo" ? profile.components : undefined) ?? brokenOfModel(profile, layout, sequenceLength)

/** The first rule of all tables that a layout breaks. */
export const firstBroken = (profile: ModelProfile, facts: TrainingFacts): Broken | undefined =>
  brokenByLayout(profile, facts.layout, facts.sequenceLength) ?? brokenTrainingRule(facts)

/** The first broken rule of each table: of the layout, of the model, of training. Where sizes are wrong nothing more is asked. */
export const allBroken = (profile: ModelProfile, facts: TrainingFacts): ReadonlyArray<Broken> => {
  const ofLayout = brokenLayoutRule(facts.layout, profile.form === "mimo" ? profile.components : undefined)
  if (ofLayout !== undefined && ofLayout.rule <= 3) return [ofLayout]
  return [ofLayout, brokenOfModel(profile, facts.layout, facts.sequenceLength), brokenTrainingRule(facts)].filter((b) => b !== undefined)
}
