/**
 * How one component of a model is cut over ranks, and the `--component` flag that says so.
 */
import { quote, UsageError } from "../errors.ts"

/** The largest world accepted. Ten times the largest cluster there is; it bounds what a mistyped flag can allocate. */
export const MAX_RANKS = 1_048_576

/** How layers are dealt out to the stages of a pipeline, where not every stage has equally many (see PipelineSplit.ts). */
export interface PipelineSplit {
  /** `num_layers_in_first_pipeline_stage` */
  readonly firstStageLayers?: number
  /** `num_layers_in_last_pipeline_stage` */
  readonly lastStageLayers?: number
  /** `account_for_embedding_in_pipeline_split` */
  readonly embeddingAsStage?: boolean
  /** `account_for_loss_in_pipeline_split` */
  readonly lossAsStage?: boolean
  /** `pipeline_model_parallel_layout`, e.g. `Et*3|(tt|)*29,m|L`. */
  readonly layout?: string
  /** `virtual_pipeline_model_parallel_size`: chunks of the model on every rank, which layers are dealt out to in turn. */
  readonly virtualStages?: number
}

/**
 * The sizes of a parallel layout. All are whole numbers from 1, `rankOffset` is the first global rank.
 *
 * **Details**
 *
 * A component owns the `tp·cp·dp·pp` consecutive ranks from `rankOffset`. `ep` and `etp` take no ranks of their own: they
 * factor the `tp·cp·dp` ranks of each pipeline stage a second time, as `etp·ep·edp` (see RankGrid.ts).
 */
export interface ParallelSizes {
  readonly tp: number
  readonly pp: number
  readonly dp: number
  readonly cp: number
  readonly ep: number
  readonly etp: number
  readonly rankOffset: number
}

/** The parallel layout of one component. */
export interface ModuleParallelism extends ParallelSizes {
  /** Absent: every stage has equally many layers. */
  readonly pipeline?: PipelineSplit
}

/** A component as the user asked for it: `dp` and `rankOffset` may be left to {@link resolveLayout} in Layout.ts. */
export interface ComponentSpec extends Omit<ModuleParallelism, "dp" | "rankOffset"> {
  readonly name: string
  readonly dp?: number
  readonly rankOffset?: number
}

/** A component with nothing said about it: every size 1. */
export const defaultSpec = (name: string): ComponentSpec => ({ name, tp: 1, pp: 1, cp: 1, ep: 1, etp: 1 })

/** Ranks that hold different dense weights: `tp·pp·cp`, as the reference counts them. Expert sizes are not part of it. */
export const modelParallelSize = ({ cp, pp, tp }: Pick<ModuleParallelism, "tp" | "pp" | "cp">): number => tp * pp * cp

/** How many ranks the component owns: `tp·cp·dp·pp`. */
export const rankCount = (parallelism: Omit<ModuleParallelism, "rankOffset">): number =>
  modelParallelSize(parallelism) * parallelism.dp

/** Copies of each expert: `tp·cp·dp / (etp·ep)`. A whole number in every valid layout. */
export const expertDataParallelSize = ({ cp, dp, ep, etp, tp }: Omit<ModuleParallelism, "rankOffset">): number =>
  (tp * cp * dp) / (etp * ep)

/** `ranks` consecutive ranks from `start`, as people write them: `0-3`, or `4` for a single one. */
export const rankRange = (start: number, ranks: number): string => ranks === 1 ? `${start}` : `${start}-${start + ranks - 1}`

/** What the user writes for each field, in the order messages list them. */
const KEYS: ReadonlyMap<string, keyof ParallelSizes> = new Map([
  ["tp", "tp"],
  ["pp", "pp"],
  ["dp", "dp"],
  ["cp", "cp"],
  ["ep", "ep"],
  ["etp", "etp"],
  ["rank_offset", "rankOffset"]
])

/** How an uneven pipeline is spelled. */
const PIPELINE_KEYS: ReadonlyMap<string, keyof PipelineSplit> = new Map([
  ["first_stage_layers", "firstStageLayers"],
  ["last_stage_layers", "lastStageLayers"],
  ["embedding_as_stage", "embeddingAsStage"],
  ["loss_as_stage", "lossAsStage"],
  ["layout", "layout"],
  ["vpp", "virtualStages"]
])

const GRAMMAR = "name=tp=N[,pp=N,dp=N,cp=N,ep=N,etp=N,rank_offset=N]; an uneven pipeline: " +
  "first_stage_layers=N, last_stage_layers=N, embedding_as_stage=true, loss_as_stage=true or layout=\"Et|t|tL\"; virtual stages: vpp=N"

/** The smallest and largest value of a field. An offset leaves room for at least one rank. */
const boundsOf = (field: keyof ParallelSizes): readonly [number, number] =>
  field === "rankOffset" ? [0, MAX_RANKS - 1] : [1, MAX_RANKS]

/** The flag's word for a field. */
const keyOf = (field: keyof ParallelSizes): string => field === "rankOffset" ? "rank_offset" : field

/**
 * Parses the value of one `--component` flag, e.g. `language=tp=4,pp=2,dp=1,ep=2,etp=1,rank_offset=0`.
 *
 * **Details**
 *
 * The grammar is the reference converter's: the name up to the first `=`, then `key=value` pairs in any order; blanks
 * around every part and empty pairs (a trailing comma) are ignored; a size that is not given is 1, `dp` and `rank_offset`
 * stay open. A value with commas stands between quotes: `layout="Et*3|(tt|)*29,m|L"`.
 *
 * **Gotchas**
 *
 * Stricter than the reference in two places: a key given twice is an error (there the last one wins in silence), and
 * numbers are plain decimal digits (`int()` of Python would also take `+4` and `1_0`).
 *
 * @throws UsageError quoting the offending part
 */
export const parseComponent = (text: string): ComponentSpec => {
  const refuse = (problem: string): never => {
    throw new UsageError({ code: "usage/layout", problem: `--component ${quote(text)}: ${problem}`, hint: `expected ${GRAMMAR}` })
  }

  const equals = text.indexOf("=")
  if (equals < 0) return refuse("has no '=' after the component name")
  const name = text.slice(0, equals).trim()
  if (name === "") return refuse("the component name is empty")

  const given = new Map<keyof ParallelSizes, number>()
  const pipeline = new Map<keyof PipelineSplit, number | boolean | string>()
  const numberOf = (key: string, value: string, [least, most]: readonly [number, number]): number => {
    const number = /^[0-9]+$/.test(value) ? Number(value) : NaN
    return number >= least && number <= most ? number : refuse(`${key} must be a whole number from ${least} to ${most}, not "${quote(value)}"`)
  }
  const pipelineValue = (field: keyof PipelineSplit, key: string, value: string): number | boolean | string => {
    if (field === "layout") return value === "" ? refuse("layout is empty") : value
    if (field === "firstStageLayers" || field === "lastStageLayers" || field === "virtualStages") return numberOf(key, value, [1, MAX_RANKS])
    return value === "true" || value === "1" ? true : value === "false" || value === "0" ? false : refuse(`${key} is true or false, not "${quote(value)}"`)
  }
  for (const token of tokensOf(text.slice(equals + 1)) ?? refuse("a quoted value does not end")) {
    if (token === "") continue
    const at = token.indexOf("=")
    if (at < 0) return refuse(`"${quote(token)}" is not key=value`)
    const key = token.slice(0, at).trim()
    const value = unquoted(token.slice(at + 1).trim())
    const field = KEYS.get(key)
    const pipelineField = PIPELINE_KEYS.get(key)
    if ((field !== undefined && given.has(field)) || (pipelineField !== undefined && pipeline.has(pipelineField))) return refuse(`"${key}" is given twice`)
    if (field !== undefined) given.set(field, numberOf(key, value, boundsOf(field)))
    else if (pipelineField !== undefined) pipeline.set(pipelineField, pipelineValue(pipelineField, key, value))
    else return refuse(`unknown key "${quote(key)}"; known are ${[...KEYS.keys(), ...PIPELINE_KEYS.keys()].join(", ")}`)
  }
  return { ...defaultSpec(name), ...Object.fromEntries(given), ...(pipeline.size > 0 ? { pipeline: Object.fromEntries(pipeline) } : {}) }
}

/** The parts between commas that are not quoted; undefined if a quote does not end. */
const tokensOf = (text: string): ReadonlyArray<string> | undefined => {
  const tokens = [""]
  let quoted = ""
  for (const c of text) {
    if (c === "," && quoted === "") tokens.push("")
    else tokens[tokens.length - 1] += c
    if (c === quoted) quoted = ""
    else if (quoted === "" && (c === '"' || c === "'")) quoted = c
  }
  return quoted === "" ? tokens.map((token) => token.trim()) : undefined
}

const unquoted = (value: string): string => value.replace(/^(["'])(.*)\1$/s, "$2")

/** What is wrong with the numbers of one component: a size that is no whole number from 1, an offset none from 0, or ranks past {@link MAX_RANKS}. */
export const wrongSizes = (spec: ComponentSpec): { readonly problem: string } | undefined => {
  for (const [key, field] of KEYS) {
    const value = spec[field]
    if (value === undefined && (field === "dp" || field === "rankOffset")) continue
    const [least, most] = boundsOf(field)
    if (value === undefined || !Number.isInteger(value) || value < least || value > most) {
      return { problem: `component ${quote(spec.name)}: ${key} must be a whole number from ${least} to ${most}, not ${value}` }
    }
  }
  const ranks = rankCount({ ...spec, dp: spec.dp ?? 1 })
  return (spec.rankOffset ?? 0) + ranks <= MAX_RANKS ? undefined : {
    problem: `component ${quote(spec.name)}: ${sizesText(spec, ["tp", "cp", "pp", "dp", "rankOffset"])} asks for ranks past ` +
      `${MAX_RANKS}, the largest world supported`
  }
}

/**
 * Checks the numbers of one component, for layouts that were not parsed from flags.
 *
 * @throws UsageError with what {@link wrongSizes} finds
 */
export const checkSizes = (spec: ComponentSpec): void => {
  const wrong = wrongSizes(spec)
  if (wrong !== undefined) throw new UsageError({ code: "usage/layout", ...wrong })
}

/** `tp=2, cp=1, …` of the fields that are set, for messages. */
export const sizesText = (
  spec: Partial<ParallelSizes>,
  fields: ReadonlyArray<keyof ParallelSizes>
): string =>
  fields.filter((field) => spec[field] !== undefined).map((field) => `${keyOf(field)}=${spec[field]}`).join(", ")

/** A component and the layout it runs under. */
export interface LayoutComponent {
  readonly name: string
  readonly parallelism: ModuleParallelism
}

/** Components in the order they were asked for (not necessarily by rank); together they own ranks `0..worldSize-1`. */
export interface Layout {
  readonly worldSize: number
  readonly components: ReadonlyArray<LayoutComponent>
}
