/**
 * The directory of `peft` that a checkpoint's adapters were imported from, as far as it still says what they are: ranks that an import
 * put beside each other, or filled up with zeros, are taken apart again while B is zero elsewhere. Training may have changed that.
 */
import { Effect, Stream } from "effect"
import { join } from "node:path"
import type { Checkpoint } from "../space/Checkpoint.ts"
import { ChunkSelection } from "../checkpoint/ChunkSelection.ts"
import { readChunks, type StoredArrays } from "../checkpoint/StoredArrays.ts"
import { stream, type TargetArray } from "../engine/index.ts"
import { converting } from "../io/attempt.ts"
import { storeInUse } from "../remote/storeInUse.ts"
import { realPathInside } from "../safetensors/locate.ts"
import type { Store } from "../store/Store.ts"
import { readSmall } from "../store/readSmall.ts"
import { bytesOf } from "../tensor/DType.ts"
import type { TargetAdapter } from "./exportDraft.ts"
import type { LocatedAdapter } from "./locate.ts"
import { LARGEST_RANKS, ORIGIN, type OriginalRanks, RANKS_FILE, readRanks } from "./origin.ts"
import { ADAPTER_CONFIG, LARGEST_ADAPTER_CONFIG, type PeftConfig, readPeftConfig } from "./peftConfig.ts"
import { scaleOf } from "./bindPeft.ts"
import { wholeAxis } from "./factors.ts"
import { outputCopies } from "./relate.ts"
import type { SharedOuter } from "./sharedMatrix.ts"
import { reordered } from "./rowOrder.ts"

export interface Original {
  readonly config: PeftConfig
  readonly configBytes: Uint8Array
  /** By HF tensor; of one that only shares a weight with others that had an adapter, none (a count of 0). */
  readonly ranks: ReadonlyMap<string, OriginalRanks>
  /** How it had matrices that all experts share. */
  readonly sharedOuter?: SharedOuter
}

const readOriginal = async (store: Store, { directory }: Checkpoint): Promise<Original | undefined> => {
  if (!(await store.list(directory)).includes(ORIGIN)) return undefined
  const read = async (name: string, limit: number) => {
    const path = join(directory, ORIGIN, name)
    return [path, await readSmall(store, await realPathInside(store, directory, `${ORIGIN}/${name}`), path, limit)] as const
  }
  const config = await read(ADAPTER_CONFIG, LARGEST_ADAPTER_CONFIG)
  return { config: readPeftConfig(...config), configBytes: config[1], ...readRanks(...await read(RANKS_FILE, LARGEST_RANKS)) }
}

/** With the HF tensors that the adapter was not for, though it was for others of the same weight: an import gave those rows zeros. */
const withOthers = (ranks: Original["ranks"], adapters: ReadonlyArray<LocatedAdapter>): Original["ranks"] => {
  const all = new Map(ranks)
  for (const { pair: { factors } } of adapters) {
    if (!factors.some(({ matrix }) => ranks.has(matrix.tensor))) continue
    for (const { matrix: { tensor } } of factors) if (!ranks.has(tensor)) all.set(tensor, { first: 0, count: 0, times: 1 })
  }
  return all
}

/** B of an HF matrix in rows and all ranks of the stored adapter, to be looked at. */
interface Looked {
  readonly adapter: LocatedAdapter
  readonly ranks: OriginalRanks
  readonly array: (stored: StoredArrays) => TargetArray
}

const lookedAt = (adapters: ReadonlyArray<LocatedAdapter>, ranks: ReadonlyMap<string, OriginalRanks>): ReadonlyArray<Looked> =>
  adapters.flatMap((adapter) => adapter.pair.factors.flatMap((factor): ReadonlyArray<Looked> => {
    const { matrix } = factor
    const own = ranks.get(matrix.tensor)
    if (!own || own.count === adapter.rank) return []
    const { output: { order, parameter, parts }, pair: { rows, slot }, rank } = adapter
    const id = `${matrix.tensor} ${parameter.name}`
    // A part of a fused weight may be a part of the matrix, too.
    const looked = slot === undefined ? { count: matrix.rows, rows: factor.rows } : { count: rows, rows: [wholeAxis(rows)] }
    const view = { tensor: id, shape: [looked.count, rank], offset: 0, rankStride: 1, stride: rank }
    const copies = reordered(outputCopies(looked, { input: view, output: view }, { count: rank, hf: 0, stored: 0, of: rank }, parameter.name), parameter.shape, order)
    return [{
      adapter,
      ranks: own,
      array: (stored) => ({ id, dtype: parts[0]!.tensor.dtype, shape: view.shape, copies: () => stored.toHf({ shape: parameter.shape, copies, parts }, id) })
    }]
  }))

/** Whether every element of B lies in the ranks that it should. */
const areApart = Effect.fnUntraced(function*(checkpoint: Checkpoint, looked: ReadonlyArray<Looked>) {
  const store = yield* storeInUse
  const chunks = new ChunkSelection(checkpoint.directory)
  for (const { adapter: { output: { parameter, parts } } } of looked) chunks.addParts(parameter.shape, parts)
  const stored = yield* converting(() => readChunks(store, chunks))
  const arrays = new Map(looked.map((own) => [own.array(stored), own]))
  let apart = true
  yield* stream(arrays.keys(), { lend: true }).pipe(Stream.runForEach(({ array, bytes, offset }) => Effect.sync(() => {
    const { adapter: { rank }, ranks: { count, first } } = arrays.get(array)!
    const width = bytesOf(array.dtype)
    for (let at = 0; at < bytes.byteLength; at++) {
      const column = Math.floor((offset + at) / width) % rank
      // The sign of a zero says nothing.
      if (bytes[at] !== 0 && (column < first || column >= first + count) && !((offset + at) % width === width - 1 && bytes[at] === 0x80)) apart = false
    }
  })))
  return apart
})

/** What the adapters of a checkpoint were, as far as that still holds. */
export const originalOf = Effect.fnUntraced(function*(checkpoint: Checkpoint, adapters: ReadonlyArray<LocatedAdapter>) {
  const store = yield* storeInUse
  const read = yield* converting(() => readOriginal(store, checkpoint))
  if (!read) return { original: undefined, notes: [] }
  const original: Original = { ...read, ranks: withOthers(read.ranks, adapters) }
  const fits = adapters.every(({ pair, rank }) => pair.factors.every(({ matrix }) => {
    const own = original.ranks.get(matrix.tensor)
    return own === undefined || own.first + own.count <= rank
  }))
  const looked = fits ? lookedAt(adapters, original.ranks) : []
  if (fits && (looked.length === 0 || (yield* areApart(checkpoint, looked)))) return { original, notes: [] }
  return { original: undefined, notes: ["the adapters no longer have the form in which they were imported: training has mixed ranks that stood beside each other, or changed rows that had no adapter, and each matrix gets all of them"] }
})

/** The configuration as it was, where it still says what these adapters are. */
export const originalConfig = ({ config, configBytes, ranks }: Original, targets: ReadonlyArray<TargetAdapter>, alpha: number): Uint8Array | undefined => {
  const same = targets.length === Iterator.from(ranks.values()).filter(({ count }) => count > 0).toArray().length && targets.every(({ path, rank, storedRank, tensor, times }) => {
    const own = ranks.get(tensor)
    return own !== undefined && own.count === rank && Math.abs(scaleOf(path, config, rank) / ((alpha * times) / storedRank) - 1) < 1e-6
  })
  return same ? configBytes : undefined
}
