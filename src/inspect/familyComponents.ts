/** The component of a tensor as a model's family routes it: a projector trains with its encoder, whatever its name says. */
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { MappingRegistry } from "../bridge/Registry.ts"
import { describeModel } from "../plan/describe.ts"
import { type HfConfig, headersOf } from "../space/HfSource.ts"
import { FormatError, isBridgeError } from "../errors.ts"
import { candidatesFor } from "../mimo/recognise.ts"
import { componentOf, routesOf } from "../mimo/routing.ts"
import type { HfTensors } from "../safetensors/SafetensorsDirectory.ts"
import { providerOf, textAt } from "../runconfig/RunConfigFile.ts"
import type { OpenedSpace } from "../space/OpenedSpace.ts"

type ComponentOf = (name: string) => string | undefined

/** By the mapping row that claims a tensor. */
const ofHf = (families: FamilyRegistry, hf: HfTensors, config: HfConfig): ComponentOf | undefined => {
  const { components, rows } = describeModel(families.find(config.json), config, headersOf(hf))
  const registries = components.map((c) =>
    [c.name, new MappingRegistry(rows.filter((r) => routesOf(c).some(({ sourcePrefix }) => r.megatron.startsWith(sourcePrefix))))] as const)
  return components.length === 0 ? undefined : (name) => registries.find(([, registry]) => registry.claimants(name).length > 0)?.[0]
}

/** By the route tables that its keys fit, as far as these agree. */
const ofMegatron = (families: FamilyRegistry, { checkpoint, form, runConfig }: OpenedSpace): ComponentOf | undefined => {
  if (!checkpoint || !form) return undefined
  const provider = runConfig && textAt(providerOf(runConfig), "_target_")
  const tables = candidatesFor(families, { form, provider, keys: [...checkpoint.tensors.keys()] })
  if (tables.length === 0) return undefined
  return (name) => {
    const [first, ...others] = tables.map(({ components }) => componentOf(components, form, name))
    return others.every((other) => other === first) ? first : undefined
  }
}

/** Undefined where no family says it: its names then speak for themselves. */
export const familyComponents = (families: FamilyRegistry, space: OpenedSpace): ComponentOf | undefined => {
  try {
    return space.hf && space.hfConfig ? ofHf(families, space.hf, space.hfConfig) : ofMegatron(families, space)
  } catch (error) {
    // A model that cannot be converted can still be looked at.
    if (isBridgeError(error) || error instanceof FormatError) return undefined
    throw error
  }
}
