/**
 * Sections of an HF config that a provider hands to transformers when it rebuilds a model: whole, because the config class fills
 * what is absent exactly as it did when config.json was read; in the names that the class has today, because the trainer drops
 * others; and only plain values, because the trainer instantiates whatever looks like an object of its own.
 */
import { float, pythonName, pythonObject, type PythonObject, type PythonValue } from "../../src/runconfig/Provider.ts"
import { defined } from "./provider.ts"
import { FormatError, quote } from "../../src/errors.ts"

type Fields = Readonly<Record<string, PythonValue>>
type Section = Readonly<Record<string, unknown>>

/** Deeper nesting than any published config section has. */
const DEEPEST = 6

/** Fields that the config classes want as floats, even where JSON wrote a whole number. */
const FLOATS = /(dropout|layerdrop|_eps|initializer_range|rope_theta|factor|mscale|mscale_all_dim|beta_fast|beta_slow|softcapping|_logit_cap|_logits_value|gradient_clipping|moe_norm_min|residual_weight|_scale|_coef)$/

/** What the config classes keep for themselves (`_name_or_path`, `_attn_implementation_autoset`); `_target_` and its like are not of them. */
const OWN = /^_.*[^_]$/

const plain = (value: unknown, field: string, depth = 0): PythonValue => {
  if (value === null || typeof value === "boolean") return value
  if (typeof value === "number") return FLOATS.test(field) ? float(value) : value
  if (typeof value === "string" && !value.includes("${")) return value
  if (typeof value === "object" && depth < DEEPEST) {
    if (Array.isArray(value)) return value.map((v) => plain(v, field, depth + 1))
    const entries = Object.entries(value).filter(([key]) => !OWN.test(key))
    if (entries.every(([key]) => /^[A-Za-z0-9][A-Za-z0-9_. -]*$/.test(key))) {
      return Object.fromEntries(entries.map(([key, v]) => [key, plain(v, `${field}.${key}`, depth + 1)]))
    }
  }
  throw new FormatError("config/not-plain", `the value of ${quote(field)} cannot be handed to the trainer`, { field })
}

/** The named fields of a section, as far as it has them. */
export const section = (source: Section, names: ReadonlyArray<string>): Fields =>
  Object.fromEntries(names.flatMap((name) => (source[name] === undefined ? [] : [[name, plain(source[name], name)]])))

const objectAt = (source: Section, field: string): Section | undefined => {
  const value = source[field]
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as Section : undefined
}

/** Rotary settings where today's classes look for them; older files have them beside the other fields. */
const rotary = (source: Section, kindWithout: string): Section => {
  const stated = objectAt(source, "rope_parameters")
  if (stated && "rope_theta" in stated) return { rope_parameters: { rope_type: stated["type"] ?? kindWithout, ...stated } }
  if (source["rope_parameters"] !== undefined || (typeof source["rope_theta"] !== "number" && !objectAt(source, "rope_scaling"))) return {}
  const { type, ...stretch } = objectAt(source, "rope_scaling") ?? {}
  const kind = stretch["rope_type"] ?? type ?? kindWithout
  const rope_type = kind === "mrope" ? "default" : kind
  return {
    rope_parameters: {
      ...stretch,
      ...(typeof source["rope_theta"] === "number" ? { rope_theta: source["rope_theta"] } : {}),
      ...(typeof source["partial_rotary_factor"] === "number" ? { partial_rotary_factor: source["partial_rotary_factor"] } : {}),
      rope_type
    }
  }
}

/** Of the file, of older spellings, of how it is stored, and of one forward pass: no field of the model. */
const NOT_THE_MODEL = new Set(["auto_map", "output_attentions", "quantization_config", "rope_scaling", "rope_theta", "torch_dtype", "transformers_version"])

/** All fields of a section. `kind`: of a rotary embedding that older files do not name. */
export const whole = (source: Section, kind = "default"): Fields => {
  const today: Section = { ...source, ...(source["dtype"] === undefined ? { dtype: source["torch_dtype"] } : {}), ...rotary(source, kind) }
  return section(today, Object.keys(today).filter((name) => !NOT_THE_MODEL.has(name) && !name.startsWith("_")))
}

/** The same of a vision section, whose rotary embedding runs along two axes. */
export const wholeVision = (source: Section): Fields => whole(source, "axial")

/** The same without fields that have the given values: a schema fills them in, and today's class has no such field. */
export const besides = (fields: Fields, filled: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([name, value]) => !(name in filled) || JSON.stringify(value) !== JSON.stringify(filled[name])))

/** Config classes that write what they call themselves, which not every config.json repeats. */
const MODEL_TYPES: Readonly<Record<string, string>> = { Exaone4Config: "exaone4", Exaone4_5_VisionConfig: "exaone4_5_vision" }

/** A section inside a section, of the class with this name unless it says otherwise. */
export const typed = (model_type: string, fields: Fields): Fields => ({ model_type, ...fields })

/** `target`: dotted name of the config class below `transformers.models`. */
export const hfConfig = (target: string, { dtype, ...fields }: Fields): PythonObject =>
  pythonObject(`transformers.models.${target}`, {
    ...defined({ model_type: MODEL_TYPES[target.slice(target.lastIndexOf(".") + 1)] }),
    ...fields,
    ...(dtype === undefined ? {} : { dtype: typeof dtype === "string" ? pythonName(`torch.${dtype}`) : dtype })
  })
