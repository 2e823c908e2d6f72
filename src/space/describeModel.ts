/** A config.json, with what headers show, as the model that it means. Pure. */
import type { Family, HfHeaders, ModelDescription } from "../bridge/Family.ts"
import { atPath, decodeWith } from "../document/decode.ts"
import type { JsonValue } from "../document/StrictJson.ts"
import { FormatError } from "../errors.ts"
import type { HfConfig } from "./HfSource.ts"

/** Validate config.json with the family's schema and describe the model that it and the headers mean. */
export const describeModel = (family: Family, config: HfConfig, headers: HfHeaders): ModelDescription => {
  const parsed = decodeWith(family.schema, config.path, config.json, config.bytes)
  try {
    return family.describe(parsed, headers)
  } catch (error) {
    // Sizes that fit the schema one by one but not together (a head width that is no integer, a product beyond 2^53).
    const found = error instanceof RangeError ? new FormatError("config/sizes", error.message) : error
    return atPath(config.path, () => { throw found instanceof FormatError ? withField(found, config.json) : found }, config.bytes)
  }
}

/** What counts too many parts does not know which field says so: the largest that counts layers or experts. */
const withField = (error: FormatError, config: JsonValue): FormatError => {
  if (error.code !== "config/too-many-parts" || error.place.field !== undefined) return error
  let [largest, field] = [0, undefined as string | undefined]
  const look = (value: JsonValue, path: string): void => {
    if (typeof value === "number" && value > largest && COUNT.test(path)) [largest, field] = [value, path]
    if (typeof value !== "object" || value === null || Array.isArray(value)) return
    for (const [key, inner] of Object.entries(value)) look(inner, path === "" ? key : `${path}.${key}`)
  }
  look(config, "")
  return new FormatError(error.code, error.message, { ...error.place, field })
}

const COUNT = /(layers?|depth|blocks|experts)$/
