/** Which components a checkpoint's model has: from its config.json, or from the provider class that its run configuration names. */
import { Effect } from "effect"
import type { Component } from "../bridge/Component.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { noHeaders, openHfConfig } from "../convert/HfSource.ts"
import { describeModel } from "../convert/ImportPlan.ts"
import { isBridgeError } from "../errors.ts"
import { providerOf, type RunConfigMap, textAt } from "../runconfig/RunConfigFile.ts"
import { attempt } from "../io/attempt.ts"

/** A config.json of each family whose components should be known by provider class; samples serve. */
export type ExampleConfigs = Iterable<Readonly<Record<string, unknown>>>

/** The description of a model from its config.json alone. */
export const describeFrom = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string) {
  const config = yield* openHfConfig(hfModel)
  return yield* attempt(() => describeModel(families.find(config.json), config, noHeaders))
})

const exampleDescription = (families: FamilyRegistry, json: Readonly<Record<string, unknown>>): ModelDescription | undefined => {
  try {
    const config = { directory: "", path: "config.json", bytes: new Uint8Array(0), json: json as never, architecture: "" }
    return describeModel(families.find(json), config, noHeaders)
  } catch (error) {
    if (isBridgeError(error)) return undefined
    throw error
  }
}

/**
 * A family routes all of its models alike, so one example of it tells the components of any model with the same provider
 * class. Undefined: the class is not known here.
 */
export const componentsOfProvider = (
  families: FamilyRegistry,
  examples: ExampleConfigs,
  runConfig: RunConfigMap | undefined
): ReadonlyArray<Component> | undefined => {
  const target = runConfig && textAt(providerOf(runConfig), "_target_")
  if (target === undefined) return undefined
  for (const json of examples) {
    const description = exampleDescription(families, json)
    if (description?.provider.target === target) return description.components
  }
  return undefined
}
