/** The decoder of a Hugging Face directory or of a Megatron checkpoint, opened: its plan, and its parameters as arrays in files. */
import { Effect } from "effect"
import { isWeightDType } from "../arithmetic/Arithmetic.ts"
import type { BoundParameter, ConversionModule } from "../bridge/Conversion.ts"
import type { ModelDescription } from "../bridge/Family.ts"
import type { FamilyRegistry } from "../bridge/FamilyRegistry.ts"
import { openCheckpoint } from "../space/Checkpoint.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { rowsOf, storedBox } from "../checkpoint/LocatedPart.ts"
import { readChunks, type StoredArrays } from "../checkpoint/StoredArrays.ts"
import { describedModel, namedModel } from "../convert/exportModel.ts"
import { familyOf } from "../convert/familyOf.ts"
import type { SourceCopy, TargetArray } from "../engine/index.ts"
import { Unsupported } from "../errors.ts"
import { converting } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { standardModules } from "../mimo/routes.ts"
import type { ModelModule } from "../model/ModelModule.ts"
import { describedByContents } from "../plan/aliases.ts"
import { commonDtype, refuseIntegerWeights } from "../plan/dtypes.ts"
import { explainingMegatron } from "../plan/explain.ts"
import { exportedModel, relateExport } from "../plan/exportRelation.ts"
import { describeSource } from "../plan/importRelation.ts"
import { type Located, refuseMissing, refuseStoredIntegers, requireAllElements } from "../plan/located.ts"
import { requireTensors } from "../plan/match.ts"
import { boundWithoutMtp } from "../plan/mtp.ts"
import { openHfSource } from "../space/HfSource.ts"
import { fileOf, fileSpotOf, spotOf } from "../space/StoredWeights.ts"
import { readSpace } from "../space/TensorSpace.ts"
import { rebase, type Shape, volume } from "../tensor/Copy.ts"
import { bytesOf, type DType } from "../tensor/DType.ts"
import { type DecoderPlan, decoderPlan } from "./DecoderPlan.ts"
import type { Read } from "./steps.ts"

export interface OpenedDecoder {
  readonly directory: string
  readonly kind: "hf" | "megatron"
  readonly architecture: string
  readonly family: string
  readonly plan: DecoderPlan<BoundParameter>
  /** Bytes of the parameters of each layer, and of those outside of layers, as they are computed with. */
  readonly sizes: { readonly layers: ReadonlyArray<number>; readonly others: number }
  /** A parameter, or some rows of it, in a dtype that is computed with. */
  readonly array: (read: Read<BoundParameter>) => TargetArray
  /** Where the small files of the model are, its tokenizer among them. */
  readonly beside?: string
  readonly notes: ReadonlyArray<string>
}

type Language = Extract<ModelModule, { kind: "language" }>

const EMBEDDING = "embedding.word_embeddings.weight"

/** The language model, and the prefix of its parameters in one of the modules that are converted. */
const languageOf = (description: ModelDescription, modules: ReadonlyArray<ConversionModule>, architecture: string) => {
  const module = description.modules.find((m): m is Language => m.kind === "language")
  const found = module && modules.flatMap((own) => own.entries.flatMap((entry) => {
    const path = module.path === "" ? "" : `${module.path}.`
    return entry.kind === "parameter" && entry.name.endsWith(EMBEDDING) && [path, ""].includes(entry.name.slice(0, -EMBEDDING.length)) && (own.name === "model" || own.name === module.component)
      ? [{ module: own, prefix: entry.name.slice(0, -EMBEDDING.length) }]
      : []
  }))[0]
  if (!module || !found) throw new Unsupported({ code: "unsupported/forward", what: architecture, problem: "has no language model that could be run" })
  return { language: module, ...found }
}

/** The parameters of the language model by their names below it, and its plan. */
const planned = (description: ModelDescription, modules: ReadonlyArray<ConversionModule>, parameters: ReadonlyArray<BoundParameter>, architecture: string) => {
  const { language, module, prefix } = languageOf(description, modules, architecture)
  const own = parameters.filter((p) => p.module.name === module.name && p.parameter.name.startsWith(prefix))
  const byName = new Map(own.map((p) => [p.parameter.name.slice(prefix.length), p] as const))
  return { own, plan: decoderPlan({ module: language, blocks: language.blocks, name: architecture }, byName) }
}

/** Numbers are computed with as they are stored, or as F32. */
const computedDtype = (stored: DType): DType => (isWeightDType(stored) ? stored : "F32")

/** Rows of an array, in this order, as an array. */
const someRows = ({ copies, dtype, id, shape }: TargetArray, rows: ReadonlyArray<number>): TargetArray => {
  const width = shape.slice(1)
  const whole: Shape = [rows.length, ...width]
  return {
    id,
    dtype,
    shape: whole,
    copies: () => {
      const all = copies()
      const start = width.map(() => 0)
      return rows.flatMap((row, i) => all.flatMap((copy) => rebase(copy, "target", shape, { offsets: [row, ...start], sizes: [1, ...width] }, id, whole, [i, ...start])))
    }
  }
}

const readingRows = (array: (bound: BoundParameter) => TargetArray) => ({ parameter, rows }: Read<BoundParameter>): TargetArray =>
  rows ? someRows(array(parameter), rows) : array(parameter)

const sizesOf = (parameters: ReadonlyArray<BoundParameter>, layers: number, array: (bound: BoundParameter) => TargetArray): OpenedDecoder["sizes"] => {
  const sizes = { layers: new Array<number>(layers).fill(0), others: 0 }
  for (const bound of parameters) {
    const { dtype, shape } = array(bound)
    const { stage } = bound.parameter
    const bytes = volume(shape) * bytesOf(dtype)
    if (typeof stage === "object") sizes.layers[stage.layer]! += bytes
    else sizes.others += bytes
  }
  return sizes
}

/** Errors: those of an import's plan, and Unsupported `unsupported/forward`. */
export const openHfDecoder = Effect.fnUntraced(function*(families: FamilyRegistry, directory: string) {
  const source = yield* openHfSource(directory, families)
  const family = yield* converting(() => familyOf(families, source))
  const { description, logical, notes } = yield* describedByContents(family, source, yield* converting(() => describeSource(family, source)))
  return yield* converting((): OpenedDecoder => {
    const { conversion, modules } = boundWithoutMtp(standardModules(description))
    const { own, plan } = planned(description, modules, conversion.parameters, source.architecture)
    requireTensors(own.flatMap(({ tensors }) => tensors), logical.tensors, fileOf(source.weights), ({ name }) => fileSpotOf(source.weights, name))
    refuseIntegerWeights(own, logical.tensors, (names) => spotOf(source.weights, names))
    const read = readSpace(logical)
    const array = ({ copies, parameter: { name, shape }, tensors }: BoundParameter): TargetArray => {
      // One that Hugging Face does not have is stored as the tensor is whose copy says so.
      const names = tensors.length > 0 ? tensors.map((tensor) => tensor.name) : copies.map(({ source }) => source.tensor)
      const stored = names.map((own) => logical.tensors.get(own)!.dtype).reduce((a, b) => commonDtype(a, b, name))
      return { id: name, dtype: computedDtype(stored), shape, copies: () => copies.flatMap(read) }
    }
    return {
      directory,
      kind: "hf",
      architecture: source.architecture,
      family: family.name,
      plan,
      sizes: sizesOf(own, plan.layers.length, array),
      array: readingRows(array),
      beside: directory,
      notes: [...source.weights.warnings, ...notes]
    }
  })
})

/** The copies that assemble a parameter from its stored parts. */
const storedCopies = (stored: StoredArrays, { bound: { parameter: { name, shape } }, parts }: Located): ReadonlyArray<SourceCopy> => {
  const row = volume(shape.slice(1))
  return parts.flatMap(({ part, tensor }) => {
    const own = rowsOf(shape, part)
    const shift = (own.offsets[0] ?? 0) * row
    return stored.within(tensor, storedBox(part, own), name)
      .map((copy) => ({ ...copy, target: { ...copy.target, offset: copy.target.offset + shift } }))
  })
}

/**
 * `hfModel`: the directory whose config.json describes the model; without one, what the checkpoint says of itself. Errors: those of an
 * export's plan, and Unsupported `unsupported/forward`.
 */
export const openMegatronDecoder = Effect.fnUntraced(function*(families: FamilyRegistry, path: string, hfModel?: string) {
  const store = yield* storeInUse
  const named = hfModel === undefined ? undefined : yield* namedModel(families, hfModel)
  const checkpoint = yield* openCheckpoint(path)
  const { config, directory: beside, weights } = named ?? (yield* describedModel(families, checkpoint, {}))
  const family = yield* converting(() => families.find(config.json, config.path))
  const { chunks, located, plan } = yield* converting(() => explainingMegatron(checkpoint, () => {
    const model = exportedModel({ family, config, weights, checkpoint })
    const relation = relateExport(model, "drop", false)
    const { own, plan } = planned(model.description, model.modules, relation.conversion.parameters, config.architecture)
    const wanted = new Set(own)
    const missing = relation.missing.filter(({ bound }) => wanted.has(bound))
    if (missing.length > 0) refuseMissing(missing, relation.located, checkpoint)
    const located = relation.located.filter(({ bound }) => wanted.has(bound))
    requireAllElements(located, checkpoint)
    refuseStoredIntegers(located, undefined, checkpoint)
    const chunks = new ChunkSelection(checkpoint.directory)
    for (const { bound, parts } of located) chunks.addParts(bound.parameter.shape, parts)
    return { plan, located, chunks }
  }))
  const stored = yield* converting(() => readChunks(store, chunks))
  const places = new Map(located.map((own) => [own.bound, own]))
  const array = (bound: BoundParameter): TargetArray => {
    const own = places.get(bound)!
    const dtype = own.parts.map(({ tensor }) => tensor.dtype).reduce((a, b) => commonDtype(a, b, bound.parameter.name))
    return { id: bound.parameter.name, dtype: computedDtype(dtype), shape: bound.parameter.shape, copies: () => storedCopies(stored, own) }
  }
  return {
    directory: checkpoint.directory,
    kind: "megatron",
    architecture: config.architecture,
    family: family.name,
    plan,
    sizes: sizesOf([...places.keys()], plan.layers.length, array),
    array: readingRows(array),
    ...(beside === undefined ? {} : { beside }),
    notes: [...checkpoint.notes, ...(named ? [] : [`the model is that which ${config.path} describes: ${config.architecture}`])]
  } satisfies OpenedDecoder as OpenedDecoder
})
