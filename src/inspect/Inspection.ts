/**
 * What `inspect` says, as plain data: every number of the text, the JSON, the CSV and any report comes from here.
 */
import type { AdapterFacts } from "../adapters/survey/AdapterFacts.ts"
import type { DType } from "../tensor/DType.ts"
import { volume } from "../tensor/Copy.ts"
import type { StoredChunk } from "../torch/DcpMetadata.ts"
import type { LoadRoute } from "../mimo/loadRoute.ts"
import { type Finding, findings, loadRoutesOf } from "./findings.ts"
import { isTrainingRole } from "../model/storedKey.ts"
import { type ModelFacts, modelFacts } from "./modelFacts.ts"
import { layerOf } from "../space/names.ts"
import { rankOf } from "../checkpoint/names.ts"
import type { OpenedSpace, OpenedTensor, SpaceKind } from "../space/OpenedSpace.ts"
import { chunksOf, type SpaceTensor } from "../space/TensorSpace.ts"
import { looksWrong, type Statistics } from "./Statistics.ts"

/** `model`: loaded into the model; `kept`: bytes of HF tensors that travel along; `training`: state of a training run. */
export type RowRole = "model" | "kept" | "training"

const rowRole = (role: SpaceTensor["role"]): RowRole => (isTrainingRole(role) ? "training" : role === "carried" ? "kept" : "model")

/** A tensor: global shape in elements, size in bytes, the files that hold its chunks. */
export interface TensorRow {
  readonly name: string
  readonly dtype: DType
  readonly shape: ReadonlyArray<number>
  readonly bytes: number
  readonly role: RowRole
  readonly component: string
  /** Layer list and number; without a number, one key holds all layers. */
  readonly stack?: string
  readonly layer?: number
  /** Number of chunks, and the files they lie in. */
  readonly chunks: number
  readonly files: ReadonlyArray<string>
  readonly boxes?: ReadonlyArray<StoredChunk>
  readonly statistics?: Statistics
  /** What is wrong with the statistics. */
  readonly suspicion?: string
}

/** Tensors counted, elements and bytes summed. */
export interface Sum {
  readonly tensors: number
  readonly elements: number
  readonly bytes: number
}

/** A data file and what it holds. */
export interface FileRow {
  readonly name: string
  readonly bytes: number
  readonly rank?: number
  /** Chunks and objects in it. */
  readonly chunks: number
  readonly objects: number
  readonly tensors: number
  readonly components: ReadonlyArray<string>
}

/** Everything that `inspect` says of a checkpoint. */
export interface Inspection {
  readonly kind: SpaceKind
  readonly path: string
  readonly directory: string
  readonly form?: "mimo" | "standard"
  /** By which of a trainer's load routes its names can be loaded; of a standard checkpoint both are one. Absent of what is no torch_dist checkpoint. */
  readonly loadRoutes?: ReadonlyArray<LoadRoute>
  readonly model: ModelFacts
  readonly common: ReadonlyArray<readonly [string, string]>
  /** Of the tensors of the model (and those kept beside it), not of training state. */
  readonly totals: Sum & { readonly chunks: number; readonly objects: number; readonly files: number; readonly fileBytes: number }
  readonly components: ReadonlyArray<Sum & { readonly name: string; readonly dtypes: ReadonlyArray<DType> }>
  readonly dtypes: ReadonlyArray<Sum & { readonly dtype: DType }>
  readonly layers: ReadonlyArray<Sum & { readonly stack: string; readonly layer: number }>
  readonly files: ReadonlyArray<FileRow>
  readonly training: Sum
  readonly findings: ReadonlyArray<Finding>
  /** What adapters there are; norms of what they change where the data was read. */
  readonly adapter?: AdapterFacts
  readonly notes: ReadonlyArray<string>
  readonly tensors: ReadonlyArray<TensorRow>
  /** Tensors before the filter. */
  readonly of: number
}

export interface InspectOptions {
  readonly filter?: (name: string) => boolean
  /** List the box, file and byte range of every chunk. */
  readonly boxes?: boolean
  readonly statistics?: ReadonlyMap<string, Statistics>
  readonly adapter?: AdapterFacts | undefined
}

class Summer<K> {
  readonly sums = new Map<K, { tensors: number; elements: number; bytes: number }>()
  add(key: K, tensors: number, elements: number, bytes: number): void {
    const sum = this.sums.get(key)
    if (!sum) this.sums.set(key, { tensors, elements, bytes })
    else {
      sum.tensors += tensors
      sum.elements += elements
      sum.bytes += bytes
    }
  }
}

const rowOf = (tensor: OpenedTensor, chunks: ReadonlyArray<StoredChunk>, files: ReadonlyArray<string>, options: InspectOptions): TensorRow => {
  const { bytes, component, dtype, name, shape } = tensor
  const role = rowRole(tensor.role)
  const layer = layerOf(name)
  const statistics = options.statistics?.get(name)
  const suspicion = statistics && looksWrong(dtype, statistics)
  return {
    name,
    dtype,
    shape,
    bytes,
    role,
    component,
    ...(layer ? { stack: layer.stack } : {}),
    ...(layer?.index === undefined ? {} : { layer: layer.index }),
    chunks: chunks.length,
    files,
    ...(options.boxes ? { boxes: chunks } : {}),
    ...(statistics ? { statistics } : {}),
    ...(suspicion === undefined ? {} : { suspicion })
  }
}

/** Most tensors have one chunk, and many share a file: one list for all of those. */
const fileLists = () => {
  const alone = new Map<string, ReadonlyArray<string>>()
  return (chunks: ReadonlyArray<StoredChunk>): ReadonlyArray<string> => {
    if (chunks.length !== 1) return [...new Set(chunks.map((c) => c.file))]
    const { file } = chunks[0]!
    let list = alone.get(file)
    if (!list) alone.set(file, list = [file])
    return list
  }
}

const fileRows = (space: OpenedSpace): ReadonlyArray<FileRow> => {
  const rows = new Map(space.files.map(({ bytes, name }) => [name, { name, bytes, chunks: 0, objects: 0, tensors: 0, components: new Set<string>() }]))
  for (const tensor of space.tensors.values()) {
    const { component } = tensor
    let last: string | undefined
    for (const { file } of chunksOf(tensor)) {
      const row = rows.get(file)
      if (!row) continue
      row.chunks++
      if (file !== last) row.tensors++
      row.components.add(component)
      last = file
    }
  }
  for (const { file } of space.objects) {
    const row = rows.get(file)
    if (row) row.objects++
  }
  return [...rows.values()]
    .map((row) => {
      const rank = rankOf(row.name)?.rank
      return { ...row, components: [...row.components].sort(), ...(rank === undefined ? {} : { rank }) }
    })
    .sort((a, b) => (a.rank ?? -1) - (b.rank ?? -1) || (a.name < b.name ? -1 : 1))
}

/** Sums, findings and one row per tensor that passes the filter. */
export const inspection = (space: OpenedSpace, options: InspectOptions = {}): Inspection => {
  const filter = options.filter ?? (() => true)
  const model = modelFacts(space)
  const routes = loadRoutesOf(space)
  const components = new Summer<string>()
  const dtypes = new Summer<DType>()
  const layers = new Summer<string>()
  const kinds = new Map<string, Set<DType>>()
  const totals = new Summer<RowRole>()
  const tensors: Array<TensorRow> = []
  const filesOf = fileLists()
  let chunks = 0
  for (const tensor of space.tensors.values()) {
    const boxes = chunksOf(tensor)
    const row = rowOf(tensor, boxes, filesOf(boxes), options)
    if (filter(row.name)) tensors.push(row)
    const elements = volume(row.shape)
    totals.add(row.role, 1, elements, row.bytes)
    if (row.role === "training") continue
    chunks += row.chunks
    components.add(row.component, 1, elements, row.bytes)
    const seen = kinds.get(row.component)
    if (seen) seen.add(row.dtype)
    else kinds.set(row.component, new Set([row.dtype]))
    dtypes.add(row.dtype, 1, elements, row.bytes)
    // The items of a single data file are chunks, whose names say nothing about the axes.
    if (row.stack === undefined || space.kind === "items") continue
    if (row.layer !== undefined) layers.add(`${row.stack}\u0000${row.layer}`, 1, elements, row.bytes)
    else {
      const count = row.shape[0] ?? 0
      for (let i = 0; i < Math.min(count, MOST_STACKED); i++) layers.add(`${row.stack}\u0000${i}`, 1, elements / count, row.bytes / count)
    }
  }
  const none = { tensors: 0, elements: 0, bytes: 0 }
  const [own, kept] = [totals.sums.get("model") ?? none, totals.sums.get("kept") ?? none]
  return {
    kind: space.kind,
    path: space.path,
    directory: space.directory,
    ...(space.form ? { form: space.form } : {}),
    ...(routes ? { loadRoutes: routes } : {}),
    model,
    common: [...space.common ?? []],
    totals: {
      tensors: own.tensors + kept.tensors,
      elements: own.elements + kept.elements,
      bytes: own.bytes + kept.bytes,
      chunks,
      objects: space.objects.length,
      files: space.files.length,
      fileBytes: space.files.reduce((sum, f) => sum + f.bytes, 0)
    },
    components: [...components.sums].map(([name, sum]) => ({ name, ...sum, dtypes: [...kinds.get(name)!].sort() })),
    dtypes: [...dtypes.sums].map(([dtype, sum]) => ({ dtype, ...sum })).sort((a, b) => b.bytes - a.bytes),
    layers: [...layers.sums].map(([key, sum]) => {
      const [stack, layer] = key.split("\u0000") as [string, string]
      return { stack, layer: Number(layer), ...sum }
    }).sort((a, b) => (a.stack === b.stack ? a.layer - b.layer : a.stack < b.stack ? -1 : 1)),
    files: fileRows(space),
    training: totals.sums.get("training") ?? none,
    findings: findings(space, model),
    ...(options.adapter ? { adapter: options.adapter } : {}),
    notes: space.notes,
    tensors,
    of: space.tensors.size
  }
}

/** An axis of a hostile tensor may have any extent; no model has more layers. */
const MOST_STACKED = 10_000
