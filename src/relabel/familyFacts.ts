/** Which components a checkpoint's model has: from its config.json, or from what the checkpoint shows by itself. */
import { Effect } from "effect"
import type { ModelDescription } from "../bridge/Family.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { noHeaders, openHfConfig } from "../space/HfSource.ts"
import { describeModel } from "../space/describeModel.ts"
import { stateModule } from "../model/shardKey.ts"
import { providerOf, type RunConfigMap, textAt } from "../runconfig/RunConfigFile.ts"
import { planning } from "../io/attempt.ts"
import { recogniseComponents, type RecognisedComponents } from "../mimo/recognise.ts"
import { type Form, unroute } from "../mimo/routing.ts"

/** The description of a model from its config.json alone. */
export const describeFrom = Effect.fnUntraced(function*(families: FamilyRegistry, hfModel: string) {
  const config = yield* openHfConfig(hfModel, families)
  return yield* planning(() => describeModel(families.find(config.json), config, noHeaders))
})

const unnumbered = (path: string): string => path.split(".").filter((part) => !/^\d+$/.test(part)).join(".")

/** Which modules of a model have a state, by their paths in either form and under any layer numbers. */
export const statesIn = ({ components, model }: Pick<ModelDescription, "components" | "model">): ((module: string) => boolean) => {
  const known = new Set(model.flatMap((entry) => (entry.kind === "state" ? [unnumbered(stateModule(entry.key)!)] : [])))
  return (module) => known.has(unnumbered(module)) || known.has(unnumbered(unroute(components, module)?.key ?? ""))
}

/** `checkpoint`: its form, and the keys of its model's tensors. */
export const componentsOfCheckpoint = (
  families: FamilyRegistry,
  checkpoint: { readonly form: Form; readonly tensors: ReadonlyMap<string, unknown> },
  runConfig: RunConfigMap | undefined
): RecognisedComponents =>
  recogniseComponents(families, { form: checkpoint.form, keys: [...checkpoint.tensors.keys()], provider: runConfig && textAt(providerOf(runConfig), "_target_") })
