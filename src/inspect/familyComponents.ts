/** The components of a Hugging Face model as its family routes them: by the mapping row that claims a tensor. */
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { MappingRegistry } from "../bridge/Registry.ts"
import { describeModel } from "../convert/ImportPlan.ts"
import { headersOf } from "../convert/HfSource.ts"
import { FormatError, isBridgeError } from "../errors.ts"
import type { Space } from "./Space.ts"

/** Undefined where there is no config.json, no family answers to it, or the family has a single component. */
export const familyComponents = (families: FamilyRegistry, space: Space): ((name: string) => string | undefined) | undefined => {
  const { hf, hfConfig } = space
  if (!hf || !hfConfig) return undefined
  try {
    const { components, rows } = describeModel(families.find(hfConfig.json), hfConfig, headersOf(hf))
    if (components.length === 0) return undefined
    const registries = components.map((c) => [c.name, new MappingRegistry(rows.filter((r) => r.megatron.startsWith(c.sourcePrefix)))] as const)
    return (name) => registries.find(([, registry]) => registry.claimants(name).length > 0)?.[0]
  } catch (error) {
    // A model that cannot be converted can still be looked at.
    if (isBridgeError(error) || error instanceof FormatError) return undefined
    throw error
  }
}
