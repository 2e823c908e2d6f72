/** The adapters of a Megatron checkpoint: which weights of the model have one, of which rank, and where its matrices are stored. Pure. */
import type { BoundParameter } from "../bridge/Conversion.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { type LocatedPart, rowsOf, storedBox } from "../checkpoint/LocatedPart.ts"
import { InvalidFile, PlanRefused, quote } from "../errors.ts"
import { type AdapterSide, isAdapterKey } from "../model/adapterKey.ts"
import type { Parameter, StoredPart } from "../model/Parameter.ts"
import type { Checkpoint } from "../space/Checkpoint.ts"
import { keyInForm, layerForms, locatePart } from "../space/locatePart.ts"
import { chunksOf, type SpaceTensor } from "../space/TensorSpace.ts"
import { volume } from "../tensor/Copy.ts"
import { isLinearWeight } from "./factors.ts"
import { canonicalPairs, fusedPair, type StoredPair, storedTensor, type StoredTensorOf, withoutExperts } from "./StoredPair.ts"

/** A tensor of an adapter, found. */
export interface LocatedTensor extends StoredTensorOf {
  readonly parts: ReadonlyArray<LocatedPart>
}

/** An adapter that a checkpoint has. */
export interface LocatedAdapter {
  readonly pair: StoredPair
  readonly rank: number
  readonly input: LocatedTensor
  readonly output: LocatedTensor
  readonly magnitude?: LocatedTensor
  /** One of its matrices serves all experts: stored without an expert axis. */
  readonly shared: { readonly input: boolean; readonly output: boolean }
}

export interface LocatedAdapters {
  readonly adapters: ReadonlyArray<LocatedAdapter>
  /** Keys of adapters that no weight of the model has. */
  readonly unclaimed: ReadonlyArray<string>
}

/** How many tensor-parallel ranks saved rows that are stored in an order of theirs, by the height of the chunks. */
const savedBy = (tensor: SpaceTensor, axis: number, shares: number): number => {
  const heights = new Set(chunksOf(tensor).map(({ sizes }) => sizes[axis]!))
  const [height] = heights
  const ranks = heights.size === 1 ? tensor.shape[axis]! / (shares * height!) : NaN
  // A tensor in one piece is that of one rank, however many pieces it would have.
  return Number.isInteger(ranks) && ranks > 1 ? ranks : 1
}

class Finder {
  readonly #checkpoint: Checkpoint
  readonly #forms: ReadonlyMap<string, "indexed" | "stacked">
  readonly #selection: ChunkSelection
  readonly used = new Set<string>()

  constructor(checkpoint: Checkpoint) {
    this.#checkpoint = checkpoint
    this.#forms = layerForms(Iterator.from(checkpoint.tensors.keys()).filter(isAdapterKey))
    this.#selection = new ChunkSelection(checkpoint.directory)
  }

  #stored(prefix: string, part: StoredPart): SpaceTensor | undefined {
    const key = prefix + part.key
    return this.#checkpoint.tensors.get(key) ?? this.#checkpoint.tensors.get(keyInForm(key, part, this.#forms))
  }

  /** Of a stack of layers, those that have no adapter have no chunks. */
  #hasChunks(parameter: Parameter, parts: ReadonlyArray<LocatedPart>): boolean {
    let [held, wanted] = [0, 0]
    for (const { part, tensor } of parts) {
      const box = storedBox(part, rowsOf(parameter.shape, part))
      wanted += volume(box.sizes)
      for (const { offsets, sizes } of this.#selection.meeting(tensor, box)) {
        held += box.offsets.reduce((n, low, k) => n * (Math.min(low + box.sizes[k]!, offsets[k]! + sizes[k]!) - Math.max(low, offsets[k]!)), 1)
      }
    }
    if (held === 0 || held === wanted) return held > 0
    throw new InvalidFile({ path: this.#checkpoint.directory, code: "adapter/hole", problem: "only a part of an adapter's matrix is stored", place: { tensor: parts[0]!.part.key } })
  }

  tensor(pair: StoredPair, side: AdapterSide, rank: number): (LocatedTensor & { readonly shared: boolean }) | undefined {
    const { base: { module: { keyPrefix } } } = pair
    const plain = storedTensor(pair, side, rank)
    const [first] = plain.parameter.parts as readonly [StoredPart]
    const stored = this.#stored(keyPrefix, first)
    if (!stored) return undefined
    const axis = stored.shape.length - plain.parameter.shape.length
    const isSlot = pair.slot === "gate" || pair.slot === "up"
    const { order, parameter } = side === "linear_in" ? plain : storedTensor(pair, side, rank, savedBy(stored, axis, isSlot ? 2 : 1))
    const shared = parameter.expert !== undefined && this.#lacksExperts(keyPrefix, first, stored)
    const own = shared ? withoutExperts(parameter) : parameter
    const parts = own.parts.map((part) => locatePart(keyPrefix + part.key, part, own.ragged ?? false, this.#checkpoint, quote(this.#checkpoint.directory)))
    if (!parts.every((part) => part !== undefined) || !this.#hasChunks(own, parts)) return undefined
    for (const { part } of parts) this.used.add(part.key)
    return { parameter: own, order, parts, shared }
  }

  /** One axis fewer than the weight's own, in the form that its layers are stored in. */
  #lacksExperts(prefix: string, part: StoredPart, stored: SpaceTensor): boolean {
    const indexed = !this.#checkpoint.tensors.has(prefix + part.key)
    const stackedThere = /\blayers\.(?!\d)/.test(part.key)
    const expected = part.shape.length + (indexed ? (stackedThere ? -1 : 1) : 0)
    return stored.shape.length === expected - 1
  }

  /** The rank of an adapter, by what is stored of it. */
  rankOf(pair: StoredPair): number | undefined {
    const { base: { module: { keyPrefix } } } = pair
    return this.#stored(keyPrefix, storedTensor(pair, "linear_in", 1).parameter.parts[0]!)?.shape.at(-2)
  }
}

const adapterOf = (finder: Finder, pair: StoredPair, directory: string): LocatedAdapter | undefined => {
  const rank = finder.rankOf(pair)
  if (rank === undefined) return undefined
  const input = finder.tensor(pair, "linear_in", rank)
  const output = finder.tensor(pair, "linear_out", rank)
  if (!input && !output) return undefined
  if (!input || !output) {
    throw new PlanRefused({ code: "adapter/half", problem: `${quote(directory)} has one matrix of an adapter without the other`, names: [(input ?? output)!.parts[0]!.part.key] })
  }
  const magnitude = finder.tensor(pair, "magnitude", rank)
  return { pair, rank, input, output, ...(magnitude ? { magnitude } : {}), shared: { input: input.shared, output: output.shared } }
}

/** Find the adapters of the linear weights among `parameters`. InvalidFile `adapter/hole`, PlanRefused `adapter/half`, `plan/shape`. */
export const locateAdapters = (parameters: ReadonlyArray<BoundParameter>, checkpoint: Checkpoint): LocatedAdapters => {
  const finder = new Finder(checkpoint)
  const keys = [...checkpoint.tensors.keys()].filter(isAdapterKey)
  const adapters = keys.length === 0 ? [] : parameters.filter(isLinearWeight).flatMap((base) => {
    const found = adapterOf(finder, fusedPair(base), checkpoint.directory)
    return found ? [found] : canonicalPairs(base).flatMap((pair) => adapterOf(finder, pair, checkpoint.directory) ?? [])
  })
  return { adapters, unclaimed: keys.filter((key) => !finder.used.has(key)) }
}
