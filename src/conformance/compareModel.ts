/**
 * The `model` section of a run configuration beside the reference's, absent fields included: a field may be missing only for a
 * reason that `runConfigDefaults.json` lists. Values are compared as YAML reads them.
 */
import { readFileSync } from "node:fs"

type Value = unknown
type Fields = Readonly<Record<string, Value>>

interface Defaults {
  readonly every: Fields
  readonly classes: Readonly<Record<string, Fields>>
}

interface Omittable {
  /** By field name, at any depth. */
  readonly ofTheRun: Readonly<Record<string, string>>
  /** By class; a field of a config inside is written with dots. */
  readonly leftOut: Readonly<Record<string, { readonly reason: string; readonly fields: ReadonlyArray<string> }>>
  readonly replaced: ReadonlyArray<{ readonly reason: string; readonly reference: Value; readonly ours: Value }>
  readonly providers: Defaults
  /** Sections without a class name have the defaults of the class of their `model_type`. */
  readonly transformers: Defaults & { readonly modelTypes: Readonly<Record<string, Fields>> }
}

const data = JSON.parse(readFileSync(new URL("./runConfigDefaults.json", import.meta.url), "utf8")) as Omittable

const isFields = (v: Value): v is Fields => typeof v === "object" && v !== null && !Array.isArray(v)

/** Independent of the order of keys. */
const canonical = (v: Value): string =>
  JSON.stringify(v, (_, x: unknown) => (isFields(x) ? Object.fromEntries(Object.entries(x).sort(([a], [b]) => (a < b ? -1 : 1))) : x)) ?? "nothing"

const equal = (a: Value, b: Value): boolean => canonical(a) === canonical(b)

/** The defaults of an object's class, most specific first. */
const defaultsOf = (object: Fields): ReadonlyArray<Fields> => {
  const target = object["_target_"]
  const type = object["model_type"]
  if (typeof target === "string") {
    const inside = data.transformers.classes[target]
    if (inside) return [inside, data.transformers.every]
    const own = data.providers.classes[target]
    return own ? [own, data.providers.every] : []
  }
  return typeof type === "string" ? [data.transformers.modelTypes[type] ?? {}, data.transformers.every] : []
}

const isDefault = (object: Fields, field: string): boolean => {
  const known = defaultsOf(object).find((defaults) => field in defaults)
  return known !== undefined && equal(known[field], object[field])
}

/** A config inside a config, as JSON text. */
const asFields = (v: Value): Value => (typeof v === "string" && v.startsWith("{") ? JSON.parse(v) as Value : v)

const short = (v: Value): string => {
  const text = canonical(v)
  return text.length > 120 ? `${text.slice(0, 120)}…` : text
}

/** `owner`: the class around, and the path from it, for fields of configs that name no class. */
const compare = (ours: Value, theirs: Value, path: string, owner: { readonly target: string; readonly path: string }, problems: Array<string>): void => {
  const [a, b] = [asFields(ours), asFields(theirs)]
  if (!isFields(a) || !isFields(b)) {
    const replaced = data.replaced.some((r) => equal(r.reference, b) && equal(r.ours, a))
    if (!replaced && !equal(a, b)) problems.push(`${path}: ${short(a)}, the reference has ${short(b)}`)
    return
  }
  if (data.replaced.some((r) => equal(r.reference, b) && equal(r.ours, a))) return
  const target = b["_target_"]
  const here = typeof target === "string" ? { target, path: "" } : owner
  for (const [field, value] of Object.entries(a)) {
    if (field in b) compare(value, b[field], `${path}.${field}`, { target: here.target, path: `${here.path}${field}.` }, problems)
    else problems.push(`${path}.${field}: the reference has no such field`)
  }
  for (const [field, value] of Object.entries(b)) {
    if (field in a || field in data.ofTheRun || isDefault(b, field)) continue
    if (data.leftOut[here.target]?.fields.includes(here.path + field)) continue
    problems.push(`${path}.${field} is missing: the reference has ${short(value)}, which is no known default`)
  }
}

/** What differs between two model sections, one line each. */
export const compareModel = (ours: Value, theirs: Value): ReadonlyArray<string> => {
  const problems: Array<string> = []
  compare(ours, theirs, "run_config model", { target: "", path: "" }, problems)
  return problems
}
