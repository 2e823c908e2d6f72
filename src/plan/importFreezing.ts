/** What of an import's model does not train: for the plan, and as fields of the trainer's configuration. Pure. */
import type { ModelDescription } from "../bridge/Family.ts"
import { frozenParts } from "../cost/freezing.ts"
import type { Form } from "../mimo/routing.ts"
import { unwrapKey } from "../model/storedKey.ts"
import { LANGUAGE_COMPONENT } from "../parallel/LayoutRules.ts"
import type { Provider } from "../runconfig/Provider.ts"
import { bytesOfTensors } from "./accounting.ts"
import { frozenTensors } from "./FreezeSet.ts"
import type { FrozenSummary } from "./Report.ts"
import type { SizedTensor } from "./summary.ts"

/** Fields of models with a vision tower (the `freeze` method of their classes reads them). */
const STANDARD_FIELDS: Readonly<Record<string, string>> = {
  [LANGUAGE_COMPONENT]: "freeze_language_model", images: "freeze_vision_model", "images.projector": "freeze_vision_projection"
}
const PROJECTOR = ".projector"

type Fields = Provider["fields"]

const mimoFields = (parts: ReadonlyArray<string>): Fields => {
  const projections = parts.filter((part) => part.endsWith(PROJECTOR)).map((part) => part.slice(0, -PROJECTOR.length))
  const encoders = parts.filter((part) => part !== LANGUAGE_COMPONENT && !part.endsWith(PROJECTOR))
  const each = (names: ReadonlyArray<string>) => Object.fromEntries(names.map((name) => [name, true] as const))
  return {
    ...(parts.includes(LANGUAGE_COMPONENT) ? { freeze_language_model: true } : {}),
    ...(encoders.length > 0 ? { freeze_modality_encoders: each(encoders) } : {}),
    ...(projections.length > 0 ? { freeze_modality_projections: each(projections) } : {})
  }
}

/**
 * What `asked` freezes of a model in a form, of which these are the stored tensors; and the fields for its configuration. Undefined where
 * nothing is asked for.
 *
 * @throws UsageError for a part that the model does not have, a pattern that matches none of its parameters
 */
export const importFreezing = (description: ModelDescription, form: Form, asked: ReadonlyArray<string>, stored: ReadonlyMap<string, SizedTensor>): { readonly summary: FrozenSummary; readonly fields: Fields } | undefined => {
  if (asked.length === 0) return undefined
  const { names, parameters } = frozenTensors(description, asked)
  const words = asked.filter((name) => !name.includes("*"))
  const hasTower = description.modules.some(({ kind }) => kind === "vision")
  const isField = (part: string): boolean => part !== "router" && (form === "mimo" || (hasTower && Object.hasOwn(STANDARD_FIELDS, part)))
  const parts = [...frozenParts(description, words)]
  const said = parts.filter(isField)
  const fields: Fields = form === "mimo" ? mimoFields(said) : Object.fromEntries(said.map((part) => [STANDARD_FIELDS[part]!, true] as const))
  const own = Iterator.from(stored).filter(([key]) => names.has(unwrapKey(key))).map(([, tensor]) => tensor).toArray()
  return {
    fields,
    summary: {
      asked, parameters, tensors: own.length, bytes: bytesOfTensors(own),
      fields: Object.keys(fields),
      byHook: [...parts.filter((part) => !isField(part)), ...asked.filter((name) => name.includes("*"))]
    }
  }
}
