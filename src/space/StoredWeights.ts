/** The weights of a Hugging Face directory as they are in its files, and what messages call their places. */
import { join } from "node:path"
import { offsetOfName } from "../document/position.ts"
import type { SourceArray } from "../engine/index.ts"
import type { HfTensors, Shard } from "../safetensors/SafetensorsDirectory.ts"
import type { Storage } from "../checkpoint/StorageSums.ts"
import { Unsupported } from "../errors.ts"
import type { AssemblyPart } from "./Assembly.ts"
import { type ComposedPlace, prefixed, type RangePlace, rangeArray, type SpaceTensor, type TensorPlace, type TensorSpace, union, type ViewPlace } from "./TensorSpace.ts"

/** A file with weights, as it was when its header was read. */
export type WeightFile = Pick<Shard, "file" | "path" | "size" | "identity" | "stamp" | "headerBytes">

/** Codes and scales of quantised tensors are tensors like any other here. */
export interface StoredWeights extends TensorSpace<RangePlace | ViewPlace | ComposedPlace> {
  readonly directory: string
  readonly files: ReadonlyArray<WeightFile>
  /** Bytes of all tensors. */
  readonly tensorBytes: number
  /** Harmless untruths of the files. */
  readonly warnings: ReadonlyArray<string>
  /** File name of the index of several files. */
  readonly indexFile?: string
  /** What is no matter of tensors: the tables of the shards and the index, which an export keeps; the files beside them. Absent for pickled weights. */
  readonly safetensors?: HfTensors
  /** Storages with a CRC-32 of their own. */
  readonly storages?: ReadonlyArray<Storage>
  /** Of a model of several checkpoints. */
  readonly parts?: ReadonlyArray<PartWeights>
}

/** The weights of one part of an assembled model. */
export interface PartWeights {
  readonly part: AssemblyPart
  /** As they are in its directory. */
  readonly weights: StoredWeights
}

/** A place that names its file alone, without a folder. */
const placed = <P extends RangePlace | ViewPlace | ComposedPlace>(place: P): P => ({ ...place, directory: "", file: join(place.directory, place.file) })

/** The tensors of a space whose names begin like this, under their other names. */
export const renamed = <P extends TensorPlace>({ tensors }: TensorSpace<P>, names: ReadonlyArray<readonly [from: string, to: string]>): TensorSpace<P> => ({
  tensors: new Map([...tensors.values()].flatMap((tensor) => {
    const found = names.find(([from]) => tensor.name.startsWith(from))
    const name = found && found[1] + tensor.name.slice(found[0].length)
    return name === undefined ? [] : [[name, { ...tensor, name }] as const]
  }))
})

/** The tensors that a part has of its directory's, under their names in the whole. */
const spaceOf = ({ part: { hf, names }, weights }: PartWeights): TensorSpace<RangePlace | ViewPlace | ComposedPlace> => {
  const { tensors } = names ? renamed(weights, names) : weights
  return prefixed({ tensors: new Map(Iterator.from(tensors.values()).map((tensor) => [tensor.name, { ...tensor, place: placed(tensor.place) }])) }, hf)
}

/** The weights of several checkpoints as those of one model. UsageError for two that have a name in common. */
export const joinedWeights = (path: string, parts: ReadonlyArray<PartWeights>): StoredWeights => {
  const space = parts.map(spaceOf).reduce((a, b) => union(a, b))
  const storages = parts.flatMap(({ weights }) => weights.storages ?? [])
  return {
    ...space,
    directory: path,
    files: parts.flatMap(({ weights }) => weights.files.map((file) => ({ ...file, file: join(weights.directory, file.file) }))),
    tensorBytes: space.tensors.values().reduce((sum, { bytes }) => sum + bytes, 0),
    warnings: parts.flatMap(({ part, weights }) => weights.warnings.map((warning) => `${part.name}: ${warning}`)),
    ...(storages.length > 0 ? { storages } : {}),
    parts
  }
}

/** The tensors of opened safetensors files as a space. */
export const storedWeights = (safetensors: HfTensors): StoredWeights => {
  const { directory, shards, tensorBytes, warnings } = safetensors
  const tensors = new Map<string, SpaceTensor<RangePlace>>()
  for (const { begin, dtype, end, name, shape, shard } of safetensors.tensors.values()) {
    const place = { kind: "range", directory, file: shards[shard]!.file, offset: begin, length: end - begin } as const
    tensors.set(name, { name, dtype, shape, bytes: end - begin, role: "model", place })
  }
  const { indexFile } = safetensors
  return { directory, files: shards, tensors, tensorBytes, warnings, ...(indexFile === undefined ? {} : { indexFile }), safetensors }
}

/** A tensor as it is in the files. Throws RangeError for a name that they do not have, Unsupported for elements that are not side by side. */
export const storedArray = ({ directory, tensors }: StoredWeights, name: string): SourceArray => {
  const tensor = tensors.get(name)
  if (!tensor) throw new RangeError(`${directory} has no tensor ${name}`)
  const { place } = tensor
  if (place.kind !== "range") throw new Unsupported({ code: "unsupported/strided-codes", what: join(directory, place.file), place: { tensor: name }, problem: "is a view whose elements do not lie side by side, and is needed as it is stored", hint: "Load it with transformers and write it with save_pretrained(DIR), which writes safetensors." })
  return rangeArray({ ...tensor, place })
}

const fileNamed = ({ files }: StoredWeights, name: string | undefined): WeightFile | undefined => files.find(({ file }) => file === name)

/** The file that holds a tensor. */
export const fileWith = (weights: StoredWeights, tensor: string): WeightFile | undefined => fileNamed(weights, weights.tensors.get(tensor)?.place.file)

/** The file to name in messages about these tensors (about all, if none are given): the one that they are in, or the index of several. */
export const fileOf = (weights: StoredWeights, names?: ReadonlyArray<string>): string => {
  const { directory, files, indexFile, tensors } = weights
  const [only, ...more] = new Set(names ? names.map((name) => tensors.get(name)?.place.file) : files.map(({ file }) => file))
  if (only !== undefined && more.length === 0) return fileNamed(weights, only)!.path
  return indexFile === undefined ? directory : join(directory, indexFile)
}

const entryOf = (file: WeightFile | undefined, name: string): string => {
  const offset = file && offsetOfName(file.headerBytes, name)
  return offset === undefined ? "" : ` (byte ${offset})`
}

/** The same, and where in it the entry of the first tensor begins. */
export const spotOf = (weights: StoredWeights, names: ReadonlyArray<string>): string => {
  const [first] = names
  const file = first === undefined ? undefined : fileWith(weights, first)
  return `${file?.path ?? fileOf(weights)}${entryOf(file, first!)}`
}

/** The file of one tensor, without its folder, and where its entry begins. */
export const fileSpotOf = (weights: StoredWeights, name: string): string => {
  const file = fileWith(weights, name)
  return `${file?.file ?? weights.directory}${entryOf(file, name)}`
}
