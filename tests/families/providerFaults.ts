/** What is wrong with the fields of a provider: a field that a trainer cannot use, or one that the model is not built with. */
import type { ModelDescription } from "../../src/bridge/Family.ts"
import type { PythonValue } from "../../src/runconfig/Provider.ts"

/** Where 0 is a value: the first token, a rate, none of something. */
const ZERO = new Set(["bos_token_id", "moe_router_bias_update_rate", "mtp_num_layers", "num_kv_shared_layers", "per_layer_embed_dim"])

/** How the trainer says that there is no multi-token prediction, or that one module is repeated, which the model stores once. */
const isPredicted = (fields: ModelDescription["provider"]["fields"], built: unknown): boolean =>
  (fields["mtp_num_layers"] === null && built === 0) || (fields["mtp_use_repeated_layer"] === true && built === 1)

/** What is wrong with the fields of a provider, in words. */
export const faultsOf = ({ modules, provider: { fields } }: Pick<ModelDescription, "modules" | "provider">): ReadonlyArray<string> => {
  const isNumber = (value: PythonValue | undefined): value is number => typeof value === "number"
  const own = Object.entries(fields).flatMap(([field, value]) =>
    value === undefined ? [`${field} is undefined`]
    : isNumber(value) && (!Number.isFinite(value) || (value === 0 && !ZERO.has(field))) ? [`${field} is ${value}`]
    : [])
  const language = modules.find((m) => m.kind === "language")
  const against = Object.entries(language?.config ?? {}).flatMap(([field, built]) => {
    if (built === undefined || JSON.stringify(built) === JSON.stringify(fields[field])) return []
    if (field === "mtp_num_layers" && isPredicted(fields, built)) return []
    return [`${field} is ${JSON.stringify(fields[field])}, the model is built with ${JSON.stringify(built)}`]
  })
  return [...own, ...against]
}
