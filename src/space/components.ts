/**
 * The component of each tensor of an opened space: as the model's family routes it, where one knows the model (a projector trains with its
 * encoder, whatever its name says), else as the names say.
 */
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { MappingRegistry } from "../bridge/Registry.ts"
import { FormatError, isBridgeError } from "../errors.ts"
import { candidatesFor } from "../mimo/recognise.ts"
import { componentOf, routesOf } from "../mimo/routing.ts"
import { isTrainingRole } from "../model/storedKey.ts"
import { providerOf, textAt } from "../runconfig/RunConfigFile.ts"
import { describeModel } from "./describeModel.ts"
import { type HfConfig, headersOf } from "./HfSource.ts"
import { componentsOf } from "./names.ts"
import { type OpenedSpace, type OpenedTensor, TRAINING, type UnroutedSpace } from "./OpenedSpace.ts"
import type { TensorSpace } from "./TensorSpace.ts"

type ComponentOf = (name: string) => string | undefined

/** By the mapping row that claims a tensor. */
const ofHf = (families: FamilyRegistry, space: TensorSpace, config: HfConfig): ComponentOf | undefined => {
  const { components, rows } = describeModel(families.find(config.json), config, headersOf(space))
  const registries = components.map((c) =>
    [c.name, new MappingRegistry(rows.filter((r) => routesOf(c).some(({ sourcePrefix }) => r.megatron.startsWith(sourcePrefix))))] as const)
  return components.length === 0 ? undefined : (name) => registries.find(([, registry]) => registry.claimants(name).length > 0)?.[0]
}

/** By the route tables that its keys fit, as far as these agree. */
const ofMegatron = (families: FamilyRegistry, { form, runConfig, tensors }: UnroutedSpace): ComponentOf | undefined => {
  if (!form) return undefined
  const provider = runConfig && textAt(providerOf(runConfig), "_target_")
  const tables = candidatesFor(families, { form, provider, keys: Array.from(tensors.values()).filter(({ role }) => role === "model").map(({ name }) => name) })
  if (tables.length === 0) return undefined
  return (name) => {
    const [first, ...others] = tables.map(({ components }) => componentOf(components, form, name))
    return others.every((other) => other === first) ? first : undefined
  }
}

const ofFamily = (families: FamilyRegistry, space: UnroutedSpace): ComponentOf | undefined => {
  try {
    return space.hf && space.hfConfig ? ofHf(families, space, space.hfConfig) : ofMegatron(families, space)
  } catch (error) {
    // A model that cannot be converted can still be looked at.
    if (isBridgeError(error) || error instanceof FormatError) return undefined
    throw error
  }
}

function* modelNames({ tensors }: TensorSpace): Generator<string> {
  for (const { name, role } of tensors.values()) if (!isTrainingRole(role)) yield name
}

/** Component of a name that the space has, or could have. Without `families` the names alone decide. */
export const componentsIn = (space: UnroutedSpace, families?: FamilyRegistry): ((name: string) => string) =>
  componentsOf(modelNames(space), families && ofFamily(families, space))

/** The same space, in which every tensor knows its component. */
export const withComponents = (space: UnroutedSpace, families?: FamilyRegistry): OpenedSpace => {
  const find = componentsIn(space, families)
  const tensors = new Map<string, OpenedTensor>()
  for (const tensor of space.tensors.values()) tensors.set(tensor.name, { ...tensor, component: isTrainingRole(tensor.role) ? TRAINING : find(tensor.name) })
  return { ...space, tensors }
}
