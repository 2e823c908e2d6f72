/** Variations of a config: other sizes and switches at the places that the family's schema names, the rest as it was. */
import type { z } from "zod"
import type { Random } from "../tensor/random.ts"

type Json = null | boolean | number | string | ReadonlyArray<Json> | { [key: string]: Json }
export type Config = { [key: string]: Json }

interface Field {
  /** Names of the objects that lead to it, then its own. */
  readonly path: ReadonlyArray<string>
  readonly kind: "boolean" | "integer"
  readonly nullish: boolean
}

/** The definition of a zod 4 schema, as far as it leads to other schemas. */
interface Definition {
  readonly type: string
  readonly shape?: Readonly<Record<string, z.ZodType>>
  readonly innerType?: z.ZodType
  readonly options?: ReadonlyArray<z.ZodType>
  readonly in?: z.ZodType
  readonly out?: z.ZodType
  readonly format?: string
}

/** Every switch and every integer of a schema. */
export const fieldsOf = (schema: z.ZodType, path: ReadonlyArray<string> = [], nullish = false): ReadonlyArray<Field> => {
  const d = schema._zod.def as unknown as Definition
  if (d.shape) return Object.entries(d.shape).flatMap(([name, field]) => fieldsOf(field, [...path, name]))
  if (d.innerType) return fieldsOf(d.innerType, path, nullish || d.type === "optional" || d.type === "nullable")
  if (d.options) return d.options.flatMap((option) => fieldsOf(option, path, nullish))
  if (d.type === "pipe") return [d.in!, d.out!].flatMap((end) => fieldsOf(end, path, nullish))
  if (d.type === "boolean") return [{ path, kind: "boolean", nullish }]
  return d.type === "number" && d.format === "safeint" ? [{ path, kind: "integer", nullish }] : []
}

const LAYERS = /layers$|^depth$|_layer_num$|^num_blocks$/
const PREDICTED = /nextn|mtp/

const scaled = (value: number, random: Random): number =>
  Math.max(1, Math.round(value * [0.5, 1, 2, 1.5, 3][random(5)]!) + (random(8) === 0 ? 1 : 0))

const otherInteger = (name: string, value: number, random: Random): number =>
  PREDICTED.test(name) ? random(3)
  : LAYERS.test(name) ? 1 + random(5)
  : /vocab/.test(name) ? 17 + random(48)
  : name.endsWith("experts") ? 1 + random(6)
  : Math.min(scaled(value, random), Math.max(512, value))

/** A list (or pattern) with an entry per layer keeps having one. */
const resized = (value: Json, count: number): Json =>
  Array.isArray(value) ? Array.from({ length: count }, (_, i) => value[i % value.length]!)
  : typeof value === "string" ? value.repeat(count).slice(0, count)
  : value

/** The object that holds the field at `path`. */
export const sectionOf = (config: Config, path: ReadonlyArray<string>): Config | undefined => {
  let section: Json | undefined = config
  for (const name of path.slice(0, -1)) {
    section = typeof section === "object" && section !== null && !Array.isArray(section) ? (section as Config)[name] : undefined
  }
  return typeof section === "object" && section !== null && !Array.isArray(section) ? section as Config : undefined
}

const change = (section: Config, name: string, { kind, nullish }: Field, random: Random): void => {
  const value = section[name]
  if (kind === "boolean") {
    if (nullish && random(4) === 0) delete section[name]
    else section[name] = random(2) === 0
  } else if (typeof value === "number") {
    if (nullish && random(8) === 0) section[name] = null
    else {
      section[name] = otherInteger(name, value, random)
      if (PREDICTED.test(name) || !LAYERS.test(name)) return
      for (const [key, list] of Object.entries(section)) {
        if (key === "architectures") continue
        const perLayer = Array.isArray(list) ? list.length === value : typeof list === "string" && /pattern/.test(key) && list.length === value
        if (perLayer) section[key] = resized(list, section[name])
      }
    }
  } else if (PREDICTED.test(name)) section[name] = random(3)
}

/** A variation with a small vocabulary (nothing depends on its size) and up to five further changes. */
export const variationOf = (config: Config, schema: z.ZodType, random: Random): Config => {
  const varied = structuredClone(config)
  const fields = fieldsOf(schema).filter((f) => sectionOf(varied, f.path) !== undefined)
  const present = fields.filter((f) => f.kind === "boolean" || PREDICTED.test(f.path.at(-1)!) || typeof sectionOf(varied, f.path)![f.path.at(-1)!] === "number")
  const chosen = present.length === 0 ? [] : Array.from({ length: 1 + random(5) }, () => present[random(present.length)]!)
  for (const field of [...fields.filter((f) => f.path.at(-1) === "vocab_size"), ...chosen]) {
    change(sectionOf(varied, field.path)!, field.path.at(-1)!, field, random)
  }
  return varied
}
