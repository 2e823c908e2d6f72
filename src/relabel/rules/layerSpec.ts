/**
 * The names of norms under the two layer specifications (`src/model/layerSpec.ts`), for the trainer that builds its layers by the
 * other one. Module states: Transformer Engine's norms have one each and are asked for it, the local ones have none; a loader does
 * not mind states that it does not ask for.
 */
import { layerSpecNames, withoutLocalForm } from "../../model/layerSpec.ts"
import { givesState } from "../../model/moduleStates.ts"
import { type Draft, modelKeys, rename } from "../Draft.ts"
import { hasNormState, missingStates, withEmptyStates } from "./extraStates.ts"
import { noEquivalent, type Rule } from "./Rule.ts"

const SAME_NAMES = "every norm has the same name under both layer specifications"

const renamed = (draft: Draft, spec: "te" | "local"): Draft => {
  const nameOf = layerSpecNames(modelKeys(draft))
  return rename(draft, (key) => nameOf(key, spec))
}

const sameKeys = (a: Draft, b: Draft): boolean => [...a.tensors.keys()].every((key) => b.tensors.has(key))

export const toLocalSpec: Rule = (draft) => {
  const without = withoutLocalForm(modelKeys(draft))
  if (without !== undefined) return noEquivalent("local-spec", `Megatron-Core builds such layers of Transformer Engine's modules only: ${without}`)
  const local = renamed(draft, "local")
  return sameKeys(draft, local)
    ? noEquivalent("local-spec", SAME_NAMES, "A model of the local specification loads the checkpoint as it is: it does not ask for the states of norms.")
    : local
}

export const toTeSpec: Rule = (draft, { hasState }) => {
  const te = renamed(draft, "te")
  const missing = missingStates(te, hasState ?? (hasNormState(te) ? undefined : (module) => givesState(module) !== "no"))
  return sameKeys(draft, te) && missing.length === 0 ? noEquivalent("te-spec", `${SAME_NAMES}, and no module state is missing`) : withEmptyStates(te, missing)
}
