/** The layout that a run configuration records, component by component. */
import type { ModuleParallelism } from "../parallel/ModuleParallelism.ts"
import { readParallelism } from "./parallelism.ts"
import { isMapping, providerOf, type RunConfigMap, sectionAt } from "./RunConfigFile.ts"

export interface ComponentLayout extends ModuleParallelism {
  readonly component: string
}

/** One row per component of a MegatronMIMO configuration; of a standard one, `model` alone; none where there is no provider. */
export const recordedLayout = (config: RunConfigMap): ReadonlyArray<ComponentLayout> => {
  const modules = sectionAt(config, "model", "megatron_mimo_parallelism_config", "module_parallelisms")
  if (modules) return Object.entries(modules).flatMap(([name, value]) => (isMapping(value) ? [{ component: name, ...readParallelism(value) }] : []))
  const provider = providerOf(config)
  return provider ? [{ component: "model", ...readParallelism(provider) }] : []
}
