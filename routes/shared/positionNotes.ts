/**
 * How config.json stretches rotary positions against what the run configuration says. Trainers know a few of the types, and
 * rebuild a model from the run configuration alone, so what it does not carry is computed otherwise, without a word. Types by
 * their names in transformers 5.
 */
import { type Family, redescribed } from "../../src/bridge/Family.ts"
import type { Provider, PythonValue } from "../../src/runconfig/Provider.ts"
import { quote } from "../../src/errors.ts"
import { languageSections, type Section, sectionOf } from "./languageSections.ts"

/** Types that stretch nothing, or are about the axes of images and videos. */
const UNSTRETCHED = new Set(["default", "mrope", "axial"])

interface Stretch {
  readonly kind: string
  readonly section: Section
}

/** Kinds of layers that have sections of their own. */
const LAYER_KINDS = ["full_attention", "sliding_attention"]

/** The sections that stretch: one for all layers, or one for each kind of layer. */
const stretchesOf = (language: Section): ReadonlyArray<Stretch> => {
  const found = sectionOf(language["rope_scaling"]) ?? sectionOf(language["rope_parameters"])
  return [found, ...LAYER_KINDS.map((kind) => sectionOf(found?.[kind]))].flatMap((section) => {
    const kind = section?.["type"] || section?.["rope_type"]
    return section && typeof kind === "string" && !UNSTRETCHED.has(kind) ? [{ kind, section }] : []
  })
}

/** What a type consists of: each key with the fields that may carry it, or with the one value that trainers know. */
const KNOWN: ReadonlyMap<string, ReadonlyArray<readonly [key: string, carriers: ReadonlyArray<string>, fixed?: number]>> = new Map([
  ["yarn", [
    ["factor", ["yarn_rotary_scaling_factor", "rotary_scaling_factor"]],
    ["original_max_position_embeddings", ["yarn_original_max_position_embeddings", "original_max_position_embeddings"]],
    ["beta_fast", ["yarn_beta_fast", "beta_fast"]],
    ["beta_slow", ["yarn_beta_slow", "beta_slow"]],
    ["mscale", ["yarn_mscale", "mscale"]],
    ["mscale_all_dim", ["yarn_mscale_all_dim", "mscale_all_dim"]],
    ["truncate", ["yarn_correction_range_round_to_int"]],
    ["attention_factor", []]
  ]],
  ["llama3", [
    ["factor", ["rope_scaling_factor"]],
    ["low_freq_factor", [], 1],
    ["high_freq_factor", [], 4],
    ["original_max_position_embeddings", [], 8192]
  ]],
  ["linear", [["factor", ["seq_len_interpolation_factor", "rope_scaling_factor"]]]],
  ["proportional", [["partial_rotary_factor", ["full_attention_rope_partial_factor", "global_rotary_percent"]]]]
])

const plain = (value: PythonValue | undefined): unknown =>
  typeof value === "object" && value !== null && "$float" in value ? value.$float : value

const shown = (value: unknown): string => (typeof value === "number" || typeof value === "boolean" ? String(value) : "nothing")

/** What of a section the fields do not carry, in words. */
const lostOf = ({ kind, section }: Stretch, fields: Provider["fields"]): ReadonlyArray<string> =>
  (KNOWN.get(kind) ?? []).flatMap(([key, carriers, fixed]) => {
    const wanted = section[key]
    if (typeof wanted !== "number" && typeof wanted !== "boolean") return []
    const values = [...carriers.map((field) => plain(fields[field])), fixed]
    return values.includes(wanted) ? [] : [`${key} ${shown(wanted)}, there ${shown(values.find((value) => value !== undefined && value !== null))}`]
  })

const CONSEQUENCE = "a trainer that goes by it computes other positions than the model was made with"

/** Notes for a plan; none where the run configuration says what config.json says. */
export const positionNotes = (config: unknown, { fields }: Provider): ReadonlyArray<string> => {
  const top = sectionOf(config)
  const stretches = top ? stretchesOf(languageSections(top).at(-1)![1]) : []
  if (stretches.length === 0 && fields["position_embedding_type"] === "yarn") {
    return [`run_config.yaml stretches rotary positions (yarn), as the reference's provider always does, and config.json does not: ${CONSEQUENCE}`]
  }
  return stretches.flatMap((stretch) => {
    const kind = quote(stretch.kind)
    if (!KNOWN.has(stretch.kind)) return [`config.json stretches rotary positions by ${kind}, for which run_config.yaml has no field: ${CONSEQUENCE}`]
    const lost = lostOf(stretch, fields)
    return lost.length === 0 ? [] : [`config.json stretches rotary positions by ${kind} otherwise than run_config.yaml (${lost.join("; ")}): ${CONSEQUENCE}`]
  })
}

/** The same family, whose descriptions have these notes. */
export const withPositionNotes = (family: Family): Family => redescribed(family, (config, headers) => {
  const described = family.describe(config, headers)
  return { ...described, notes: [...(described.notes ?? []), ...positionNotes(config, described.provider)] }
})
