/**
 * The config.json that a trainer's description of a model implies: of every family that has a way back, what it would say, proved by
 * describing it again. One that gives the same fields means the same model. Pure.
 */
import type { Family } from "../bridge/Family.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { type FieldValue, ModelFields } from "../bridge/ModelFields.ts"
import type { JsonValue } from "../document/StrictJson.ts"
import { FormatError, isBridgeError, quote, Unsupported, UsageError } from "../errors.ts"
import { describeModel } from "../space/describeModel.ts"
import { type HfConfig, noHeaders } from "../space/HfSource.ts"

/** What a trainer does not say of a model. */
export interface ImpliedBeside {
  /** Of several that fit, or where only one is to be tried. */
  readonly architecture?: string
  /** `bfloat16` … */
  readonly dtype: string
  /** Ids of special tokens, by their fields in config.json. */
  readonly tokens: Readonly<Record<string, JsonValue>>
  /** Where the trainer's description stands, for messages. */
  readonly path: string
}

interface Candidate {
  readonly family: Family
  readonly architecture: string
  readonly config: HfConfig
  /** Fields that the model of config.json would have otherwise; empty: it is the same model. */
  readonly differing: ReadonlyArray<string>
}

const shown = (value: FieldValue): string => JSON.stringify(value)

const compared = (given: ModelFields, described: ModelFields): ReadonlyArray<string> => {
  const [own, other] = [given.decisive(), described.decisive()]
  const names = new Set([...own.keys(), ...other.keys()])
  return [...names].flatMap((name) => {
    const [a, b] = [shown(own.get(name) ?? null), shown(other.get(name) ?? null)]
    return a === b ? [] : [`${name} ${a} (there ${b})`]
  })
}

const candidate = (family: Family, architecture: string, fields: ModelFields, { dtype, path, tokens }: ImpliedBeside): Candidate | undefined => {
  const implied = family.impliedConfig?.(fields)
  if (!implied) return undefined
  const json = { architectures: [architecture], ...implied, ...tokens, torch_dtype: dtype }
  const bytes = Buffer.from(`${JSON.stringify(json, null, 2)}\n`)
  const config: HfConfig = { directory: path, path, bytes, json, architecture }
  try {
    const { provider } = describeModel(family, config, noHeaders)
    return { family, architecture, config, differing: compared(fields, new ModelFields(provider.fields)) }
  } catch (error) {
    // Sizes that its config class does not take.
    if (!isBridgeError(error) && !(error instanceof FormatError)) throw error
    return { family, architecture, config, differing: [isBridgeError(error) ? error.summary : error.message] }
  }
}

const withWayBack = (families: FamilyRegistry): ReadonlyArray<readonly [Family, string]> =>
  families.families.filter((family) => family.impliedConfig).flatMap((family) => family.architectures.map((architecture) => [family, architecture] as const))

/** Names of one candidate's differences that are shown. */
const MOST_SHOWN = 4

const differences = ({ architecture, differing }: Candidate): string =>
  `${architecture}: ${differing.slice(0, MOST_SHOWN).join(", ")}${differing.length > MOST_SHOWN ? `, … (${differing.length})` : ""}`

/**
 * The config.json of the model that these fields describe.
 *
 * @throws Unsupported `unsupported/implied-config` if no family's does; UsageError if several do, or the architecture has no way back
 */
export const impliedConfig = (families: FamilyRegistry, fields: ModelFields, beside: ImpliedBeside): HfConfig => {
  const { architecture, path } = beside
  const known = withWayBack(families)
  const asked = architecture === undefined ? known : known.filter(([, name]) => name === architecture)
  if (asked.length === 0) {
    throw new UsageError({
      problem: `--architecture ${quote(architecture!)}: its config.json does not follow from what a trainer says of a model`,
      hint: `--hf-model names a model, or its config.json. It follows for ${known.map(([, name]) => name).sort().join(", ")}.`
    })
  }
  const candidates = asked.flatMap(([family, name]) => candidate(family, name, fields, beside) ?? [])
  const [found, ...others] = candidates.filter(({ differing }) => differing.length === 0)
  if (found && others.length === 0) return found.config
  if (found) {
    throw new UsageError({ problem: `the checkpoint's description fits several architectures: ${[found, ...others].map((c) => c.architecture).join(", ")}`, hint: "--architecture NAME says which it is." })
  }
  const closest = candidates.toSorted((a, b) => a.differing.length - b.differing.length).slice(0, 2)
  throw new Unsupported({
    code: "unsupported/implied-config",
    what: path,
    problem: `no config.json follows from it: a Hugging Face model of it would differ${closest.length === 0 ? "" : ` in ${closest.map(differences).join("; ")}`}`,
    hint: "--hf-model DIR names a model of the same architecture; a directory with its config.json alone is enough."
  })
}
