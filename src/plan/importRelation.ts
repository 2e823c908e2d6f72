/**
 * The two spaces of an import related: the tensors of a Hugging Face model, and the parameters of its Megatron model under a layout.
 * Pure.
 */
import { bind, checkCoverage, type Conversion, type ConversionModule } from "../bridge/Conversion.ts"
import type { Family, HfHeaders, ModelDescription } from "../bridge/Family.ts"
import { UsageError } from "../errors.ts"
import { type LoadRoute, prefixFor, requireRoute } from "../mimo/loadRoute.ts"
import type { Form } from "../mimo/routing.ts"
import type { Layout } from "../parallel/Layout.ts"
import { describeModel } from "../space/describeModel.ts"
import { type HfSource, headersOf } from "../space/HfSource.ts"
import type { HfWeights } from "../space/HfWeights.ts"
import { openedWeights } from "../space/openedWeights.ts"
import { fileOf, fileSpotOf } from "../space/StoredWeights.ts"
import { formOf, modulesOf } from "./describe.ts"
import { explainingHf } from "./explain.ts"
import type { ImportOptions } from "./ImportOptions.ts"
import { type LaidOutModule, laidOut, layoutNotes } from "./layoutChecks.ts"
import { expectedBeside, requireTensors } from "./match.ts"
import { boundWithoutMtp, mtpNamesOf, mtpRequired, NO_MTP_LAYERS } from "./mtp.ts"
import type { MtpMode } from "./Options.ts"
import { paddingNote, padVocabulary, type VocabularyPadding } from "./vocabulary.ts"

/** A source and the model that it holds. */
export interface DescribedSource {
  /** Its tensors; quantised ones are seen as BF16 ones. */
  readonly logical: HfWeights
  readonly headers: HfHeaders
  readonly description: ModelDescription
  /** What was found on the way. */
  readonly notes: ReadonlyArray<string>
}

/** Errors: what the directory is, if it is no plain model; else InvalidFile or Unsupported. */
export const describeSource = (family: Family, source: HfSource): DescribedSource =>
  explainingHf(source.weights, source, () => {
    const logical = openedWeights(source.weights, source)
    const headers = headersOf(logical)
    return { logical, headers, description: describeModel(family, source, headers), notes: [] }
  })

export interface ImportRelation {
  readonly family: Family
  readonly source: HfSource
  readonly described: DescribedSource
  readonly form: Form
  /** The part of the model that is converted. */
  readonly modules: ReadonlyArray<ConversionModule>
  readonly conversion: Conversion
  readonly layout: Layout
  /** The modules under the layout. */
  readonly placed: ReadonlyArray<LaidOutModule>
  /** Rows that the tables of the vocabulary are given. */
  readonly padding: VocabularyPadding | undefined
  /** HF tensors of multi-token prediction that stay behind. */
  readonly droppedMtp: ReadonlyArray<string>
  /** The files are state dicts of tensor-parallel ranks. */
  readonly byRank: boolean
  readonly notes: ReadonlyArray<string>
}

/** Of what a layout says, files of ranks depend on one size. */
const rankStateNotes = ({ components }: Layout): ReadonlyArray<string> =>
  components.some(({ parallelism: { pp } }) => pp > 1) ? ["every file holds the layers of all pipeline stages; the trainer's script gives each stage its own"] : []

/** The modules to convert without or with multi-token prediction, and the HF tensors of it that stay behind. */
const resolveMtp = (modules: ReadonlyArray<ConversionModule>, mode: MtpMode, has: (name: string) => boolean) => {
  const full = bind(modules)
  const names = mtpNamesOf(full)
  const present = names.filter(has)
  if (mode === "require" && (names.length === 0 || present.length < names.length)) {
    throw mtpRequired(names.length === 0 ? NO_MTP_LAYERS : "multi-token-prediction tensors are missing", { names: names.filter((n) => !has(n)) })
  }
  const absent = names.length > 0 && present.length === 0
  if (names.length === 0 || (mode !== "drop" && !absent)) return { conversion: full, modules, dropped: [], absent: false }
  return { ...boundWithoutMtp(modules), dropped: present, absent }
}

/** The modules of a model under the names that a loader asks for. */
const namedModules = (form: Form, description: ModelDescription, route: LoadRoute): ReadonlyArray<ConversionModule> => {
  requireRoute(form, route)
  return modulesOf(form, description).map((module) => ({ ...module, keyPrefix: prefixFor(route, module.keyPrefix) }))
}

/** Errors: UsageError for a layout that the model cannot have, PlanRefused where the tensors are not those of the model. */
export const relateImport = (family: Family, source: HfSource, described: DescribedSource, options: ImportOptions): ImportRelation => {
  const { description, logical: { tensors }, notes } = described
  const { checkpointFormat, loadRoute = "hook", paddedVocabulary } = options
  const form = formOf(options.form, description)
  const has = (name: string): boolean => tensors.has(name)
  const mtp = resolveMtp(namedModules(form, description, loadRoute), options.mtp, has)
  const layout = options.layout(mtp.modules.map((m) => m.name))
  const placed = laidOut(mtp.modules, description, form, layout)
  const tpOf = new Map(placed.map(({ module, parallelism }) => [module, parallelism.tp]))
  const { conversion, padding } = padVocabulary(mtp.conversion, description.provider, (module) => tpOf.get(module)!, paddedVocabulary)
  const byRank = checkpointFormat === "tp_rank"
  if (byRank && loadRoute !== "hook") throw new UsageError({ problem: `--load-route ${loadRoute} would do nothing: files of ranks are loaded by a script, before components are wrapped` })
  requireTensors(
    [...conversion.hf.values(), ...expectedBeside(description.carried, conversion.hf, has)],
    tensors,
    fileOf(source.weights),
    ({ name }) => fileSpotOf(source.weights, name)
  )
  checkCoverage(conversion)
  return {
    family, source, described, form, modules: mtp.modules, conversion, layout, placed, padding, droppedMtp: mtp.dropped, byRank,
    notes: [
      ...source.weights.warnings,
      ...(description.notes ?? []),
      ...notes,
      ...(mtp.absent ? ["config.json promises multi-token-prediction layers, the checkpoint has none of their tensors; converted without"] : []),
      ...(padding ? [paddingNote(padding)] : []),
      ...layoutNotes(form, layout),
      ...(byRank ? rankStateNotes(layout) : [])
    ]
  }
}
