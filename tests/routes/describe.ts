/** Descriptions of the configs of conformance cases with other values in them. */
import { families } from "../../routes/index.ts"
import type { ModelDescription } from "../../src/bridge/Family.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { loadCase } from "../conformance/cases.ts"

type Config = Readonly<Record<string, unknown>>

/** Undefined takes a field out; an object changes the section of that name. */
const changed = (config: Config, change: Config): Config =>
  Object.fromEntries(Object.entries({ ...config, ...change }).flatMap(([key, value]) => {
    const [was, now] = [config[key], change[key]]
    if (key in change && now === undefined) return []
    const section = key.endsWith("_config") && typeof now === "object" && now !== null
    return [[key, section ? changed(was as Config, now as Config) : value]]
  }))

/** The description of the model of a case with these fields changed, from its config alone. */
export const describeCase = (name: string, change: Config = {}): ModelDescription => {
  const config = changed(loadCase(name).hf.config, change)
  const family = families.find(config)
  return family.describe(family.schema.parse(config), noHeaders)
}

/** Its provider fields, floats as plain numbers. */
export const fieldsOf = (name: string, change: Config = {}): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Object.entries(describeCase(name, change).provider.fields).map(([field, value]) =>
    [field, typeof value === "object" && value !== null && "$float" in value ? value.$float : value]))
