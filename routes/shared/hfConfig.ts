/**
 * Sections of an HF config that a provider hands to transformers when it rebuilds a model: only named fields, and only plain
 * values, because the trainer instantiates whatever looks like an object of its own.
 */
import { float, pythonObject, type PythonObject, type PythonValue } from "../../src/runconfig/Provider.ts"
import { FormatError, quote } from "../../src/errors.ts"
import type { TextConfig } from "./llama.ts"

type Fields = Readonly<Record<string, PythonValue>>

/** Deeper nesting than any published config section has. */
const DEEPEST = 4

/** Fields that the config classes want as floats, even where JSON wrote a whole number. */
const FLOATS = /(dropout|layerdrop|_eps|initializer_range|rope_theta|factor|mscale|mscale_all_dim|beta_fast|beta_slow)$/

const plain = (value: unknown, field: string, depth = 0): PythonValue => {
  if (value === null || typeof value === "boolean") return value
  if (typeof value === "number") return FLOATS.test(field) ? float(value) : value
  if (typeof value === "string" && !value.includes("${")) return value
  if (typeof value === "object" && depth < DEEPEST) {
    if (Array.isArray(value)) return value.map((v) => plain(v, field, depth + 1))
    const entries = Object.entries(value)
    if (entries.every(([key]) => /^[A-Za-z][A-Za-z0-9_]*$/.test(key))) {
      return Object.fromEntries(entries.map(([key, v]) => [key, plain(v, `${field}.${key}`, depth + 1)]))
    }
  }
  throw new FormatError("config/not-plain", `the value of ${quote(field)} cannot be handed to the trainer`, { field })
}

/** The named fields of a section, as far as it has them. */
export const section = (source: Readonly<Record<string, unknown>>, names: ReadonlyArray<string>): Fields =>
  Object.fromEntries(names.flatMap((name) => (source[name] === undefined ? [] : [[name, plain(source[name], name)]])))

/** A vision section with its rotary base in the newer place: older files have it beside the other fields. */
export const axialRope = (v: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> =>
  v["rope_parameters"] === undefined && typeof v["rope_theta"] === "number" ? { ...v, rope_parameters: { rope_theta: v["rope_theta"], rope_type: "axial" } } : v

/** `target`: dotted name of the config class below `transformers.models`. */
export const hfConfig = (target: string, fields: Fields): PythonObject => pythonObject(`transformers.models.${target}`, fields)

const TEXT = [
  "attention_bias", "attention_dropout", "bos_token_id", "eos_token_id", "head_dim", "hidden_act", "hidden_size", "initializer_range",
  "intermediate_size", "layer_types", "max_position_embeddings", "model_type", "num_attention_heads", "num_hidden_layers",
  "num_key_value_heads", "rms_norm_eps", "sliding_window", "tie_word_embeddings", "vocab_size"
]

/** A text section, with the rotary settings in their newer form. `names`: fields beyond the common ones. */
export const textSection = (t: TextConfig, names: ReadonlyArray<string> = []): Fields => {
  const { rope_type, type, ...stretch } = t.rope_scaling ?? {}
  const kind = rope_type ?? type ?? "default"
  return {
    ...section(t, [...TEXT, ...names]),
    ...section({
      rope_parameters: t.rope_parameters ??
        (t.rope_theta === undefined || t.rope_theta === null ? undefined : { ...stretch, rope_theta: t.rope_theta, rope_type: kind === "mrope" ? "default" : kind })
    }, ["rope_parameters"])
  }
}
