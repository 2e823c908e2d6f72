/**
 * A Hugging Face checkpoint as a set of tensors: every header read and checked, no data. Works on a directory (sharded or
 * not, also a snapshot of the Hugging Face cache), on one safetensors file and on one index file.
 */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect, type Scope } from "effect"
import { join } from "node:path"
import { atPath } from "../document/decode.ts"
import { positioned } from "../document/position.ts"
import { InvalidFile, quote, some } from "../errors.ts"
import { lift, opening } from "../io/attempt.ts"
import type { Disk, DiskError } from "../io/Disk.ts"
import { readFully, storedState, type Store, type StoredFile, type StoredInfo, type StoredState } from "../store/Store.ts"
import { isNotThere } from "../store/existing.ts"
import { refuseSpecials } from "../store/specials.ts"
import { type Header, LENGTH_BYTES, MOST_TENSORS, parseHeader, readHeaderLength } from "./Header.ts"
import { checkIndex, parseIndex, type SafetensorsIndex, shardsOf, type StaleCopy, totalSize } from "./ShardIndex.ts"
import { absentShards } from "./absentShards.ts"
import { type WeightsEntry, isWeightsName, locate, openRegular, realPathInside } from "./locate.ts"
import { otherFormat, refuseOtherThanJson, START_BYTES } from "./otherFormat.ts"
import type { TensorInfo } from "./Tensor.ts"

/** Headers stay in memory; one has at most 100 MB, and the largest known checkpoints have about 20 MB in all. */
const LARGEST_HEADERS = 400_000_000
/** Of an index file: what its parser accepts, and one more byte to notice the excess. */
const LARGEST_INDEX_READ = 100_000_001
const CONCURRENT_FILES = 8

/** One safetensors file. */
export interface Shard extends StoredState {
  /** Name relative to the directory, as in the index. */
  readonly file: string
  readonly path: string
  /** Length field and JSON as in the file: the same tensors at the same places need the same bytes. */
  readonly headerBytes: Uint8Array
  readonly metadata: ReadonlyMap<string, string> | undefined
  /** In the order of their data. */
  readonly tensors: ReadonlyArray<HfTensor>
  /** The header also has tensors that the index places in other shards; they are not among `tensors`. */
  readonly overlaid?: true
}

/** A tensor of an opened checkpoint. */
export interface HfTensor extends TensorInfo {
  /** Position in {@link HfTensors.shards}. */
  readonly shard: number
}

/** An opened checkpoint of one or many files: all headers, no data. */
export interface HfTensors {
  readonly directory: string
  /** By name, in code point order. */
  readonly shards: ReadonlyArray<Shard>
  /** By name; shard after shard, in the order of the data. */
  readonly tensors: ReadonlyMap<string, HfTensor>
  /** Bytes of all tensors. */
  readonly tensorBytes: number
  /** File name of the index, if there is one. */
  readonly indexFile?: string
  readonly index?: SafetensorsIndex
  readonly indexBytes?: Uint8Array
  /** `*.safetensors` in the directory that are not part of the checkpoint, e.g. `consolidated.safetensors`. */
  readonly otherFiles: ReadonlyArray<string>
  /** Harmless untruths, e.g. a wrong `total_size`. */
  readonly warnings: ReadonlyArray<string>
}

/** What opening and reading fails with. */
export type SafetensorsError = InvalidFile | DiskError

/**
 * Open a checkpoint. `path` is a directory, a `.safetensors` file or a `.safetensors.index.json`.
 *
 * **Gotchas**: `model.safetensors.index.json` wins over a `model.safetensors` beside it, which is then named in `otherFiles`.
 *
 * @throws InvalidFile for anything wrong with the layout, the index or a header, naming file and tensor; IoError.
 */
export const openSafetensors = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeInUse
  const entry = yield* opening(() => locate(store, path))
  const indexBytes = entry.kind === "index" ? yield* opening(() => readIndexBytes(store, entry)) : undefined
  const indexPath = join(entry.directory, entry.file)
  const index = indexBytes && (yield* opening(async () => {
    refuseOtherThanJson(indexPath, indexBytes)
    const parsed = atPath(indexPath, () => parseIndex(indexBytes), indexBytes)
    await refuseAbsent(store, entry, parsed, indexBytes)
    return parsed
  }))
  const budget = { bytes: LARGEST_HEADERS, tensors: MOST_TENSORS }
  const shards = yield* Effect.forEach(
    index ? shardsOf(index) : [entry.file],
    (file, number) => opening(() => readShard(store, entry, file, number, index, indexBytes, budget)),
    { concurrency: CONCURRENT_FILES }
  )
  return yield* opening(async () => {
    const read = new Set(shards.map(({ file }) => file))
    await refuseSpecials(store, entry.directory, entry.names.filter((name) => !read.has(name)), isWeightsName)
    return assemble(entry, shards, indexPath, index, indexBytes)
  })
})

const readIndexBytes = (store: Store, entry: WeightsEntry): Promise<Uint8Array> =>
  withFile(store, entry, entry.file, async (file, { size }) => {
    const bytes = new Uint8Array(Math.min(size, LARGEST_INDEX_READ))
    await readFully(file, bytes, 0)
    return bytes
  })

/** What the headers that are still to be read may take. */
interface Budget {
  bytes: number
  tensors: number
}

const readShard = async (
  store: Store,
  entry: WeightsEntry,
  file: string,
  number: number,
  index: SafetensorsIndex | undefined,
  indexBytes: Uint8Array | undefined,
  budget: Budget
): Promise<Shard> => {
  const path = join(entry.directory, file)
  const read = async (handle: StoredFile, info: StoredInfo): Promise<Shard> => {
    const { headerBytes, metadata, tensors } = await readHeader(handle, path, info.size, budget)
    return {
      file,
      path,
      ...storedState(info),
      headerBytes,
      metadata,
      tensors: tensors.map(({ begin, dtype, end, name, shape }) => ({ name, dtype, shape, begin, end, shard: number }))
    }
  }
  return withFile(store, entry, file, read).catch((error: unknown): never => {
    throw index && error instanceof InvalidFile && isNotThere(error) ? missingShard(entry, index, indexBytes!, file, error.problem) : error
  })
}

const missingShard = ({ directory, file: indexFile }: WeightsEntry, index: SafetensorsIndex, indexBytes: Uint8Array, file: string, problem: string, more = "", hint?: string): InvalidFile =>
  new InvalidFile({
    path: join(directory, file),
    code: "safetensors/missing-shard",
    problem: `${problem}, but ${indexFile} places tensors in it${more}`,
    place: { ...positioned({ tensor: index.weightMap.entries().find(([, shard]) => shard === file)?.[0] }, indexBytes), record: indexFile },
    ...(hint ? { hint } : {})
  })

/** Shards that no folder lists: before any is opened, for an index can name more of them than there can be files. */
const refuseAbsent = async (store: Store, entry: WeightsEntry, index: SafetensorsIndex, indexBytes: Uint8Array): Promise<void> => {
  const shards = shardsOf(index)
  const [first, ...others] = await absentShards(store, entry.directory, shards)
  if (first === undefined) return
  const more = others.length === 0 ? "" : `; ${others.length} more shard${others.length === 1 ? " is" : "s are"} missing, the last of them ${quote(others.at(-1)!)}`
  const known = new Set(shards)
  const unnamed = entry.weights.filter((name) => !known.has(name))
  const are = unnamed.length === 1 ? "is" : "are"
  const hint = unnamed.length === 0 ? undefined
    : await holdAll(store, entry, unnamed, index)
    ? `${some(unnamed, 3)} ${are} there, which the index does not name, and ${unnamed.length === 1 ? "holds" : "hold"} all tensors that it lists: an index of another numbering. Take the one that belongs to these files, or remove it if there is a single one.`
    : `${some(unnamed, 3)} ${are} there, which the index does not name: an index of another numbering. Take the one that belongs to these files.`
  throw missingShard(entry, index, indexBytes, first, "does not exist", more, hint)
}

/** Do these files hold every tensor that the index lists? */
const holdAll = async (store: Store, entry: WeightsEntry, files: ReadonlyArray<string>, index: SafetensorsIndex): Promise<boolean> => {
  const missing = new Set(index.weightMap.keys())
  const budget = { bytes: LARGEST_HEADERS, tensors: MOST_TENSORS }
  try {
    for (const file of files) {
      for (const { name } of (await readShard(store, entry, file, 0, undefined, undefined, budget)).tensors) missing.delete(name)
    }
  } catch {
    // This only looks for advice; what is wrong with these files is not what the user asked for.
    return false
  }
  return missing.size === 0
}

/** Open, check and close one file of the checkpoint. */
const withFile = async <A>(
  store: Store,
  entry: WeightsEntry,
  file: string,
  use: (handle: StoredFile, info: StoredInfo) => Promise<A>
): Promise<A> => {
  const path = join(entry.directory, file)
  const named = entry.named && file === entry.file
  const handle = await openRegular(store, named ? path : await realPathInside(store, entry.directory, file), path)
  try {
    return await use(handle, await handle.info())
  } finally {
    await handle.close()
  }
}

/** Read and parse the header of an open file. */
const readHeader = async (handle: StoredFile, path: string, size: number, budget: Budget): Promise<Header> => {
  const start = new Uint8Array(Math.min(START_BYTES, size))
  await readFully(handle, start, 0)
  const other = otherFormat(start)
  if (other) throw new InvalidFile({ path, code: "safetensors/other-format", problem: other.problem, place: { offset: 0 }, hint: other.hint })
  const length = start.subarray(0, LENGTH_BYTES)
  const needed = LENGTH_BYTES + atPath(path, () => readHeaderLength(length, size))
  budget.bytes -= needed
  if (budget.bytes < 0) {
    throw new InvalidFile({
      path,
      code: "safetensors/headers-too-large",
      problem: `with this header of ${needed} bytes the headers of the checkpoint pass ${LARGEST_HEADERS} bytes`
    })
  }
  const prefix = new Uint8Array(needed)
  prefix.set(length)
  await readFully(handle, prefix.subarray(LENGTH_BYTES), LENGTH_BYTES)
  const header = atPath(path, () => parseHeader(prefix, size))
  budget.tensors -= header.tensors.length
  if (budget.tensors < 0) {
    throw new InvalidFile({ path, code: "safetensors/too-many-tensors", problem: `with those of this file the checkpoint has more than ${MOST_TENSORS} tensors` })
  }
  return header
}

/** A shard as the index sees it. */
const withoutStale = (shard: Shard, { weightMap }: SafetensorsIndex): Shard => {
  const tensors = shard.tensors.filter(({ name }) => weightMap.get(name) === shard.file)
  return tensors.length === shard.tensors.length ? shard : { ...shard, tensors, overlaid: true }
}

const assemble = (
  entry: WeightsEntry,
  read: ReadonlyArray<Shard>,
  indexPath: string,
  index: SafetensorsIndex | undefined,
  indexBytes: Uint8Array | undefined
): HfTensors => {
  const warnings: Array<string> = []
  const tensors = new Map<string, HfTensor>()
  let tensorBytes = 0
  const stale = index ? atPath(indexPath, () => checkIndex(index, read), indexBytes) : []
  const shards = stale.length === 0 ? read : read.map((shard) => withoutStale(shard, index!))
  if (stale.length > 0) {
    const [{ file, name }] = stale as readonly [StaleCopy, ...Array<StaleCopy>]
    warnings.push(`${stale.length} tensor${stale.length === 1 ? " stands" : "s stand"} in several shards, and the index decides: ${quote(name)} is read from ${quote(index!.weightMap.get(name)!)}, not from ${quote(file)}`)
  }
  for (const shard of shards) {
    for (const tensor of shard.tensors) {
      tensors.set(tensor.name, tensor)
      tensorBytes += tensor.end - tensor.begin
    }
  }
  const declared = index && totalSize(index)
  if (declared !== undefined && declared !== tensorBytes) {
    warnings.push(`${entry.file} says total_size ${declared}, the tensors have ${tensorBytes} bytes`)
  }
  const used = new Set(shards.map(({ file }) => file))
  return {
    directory: entry.directory,
    shards,
    tensors,
    tensorBytes,
    ...(index && indexBytes ? { indexFile: entry.file, index, indexBytes } : {}),
    otherFiles: entry.weights.filter((name) => !used.has(name)),
    warnings
  }
}

/**
 * Open a shard for reading its data, for the life of the scope.
 *
 * @throws InvalidFile `safetensors/changed` if the file is not the one whose header was read; IoError.
 */
export const openShard = (shard: Shard): Effect.Effect<StoredFile, SafetensorsError, Disk | Scope.Scope> =>
  Effect.gen(function*() {
    const store = yield* storeInUse
    const file = yield* Effect.acquireRelease(
      opening(() => openRegular(store, shard.path, shard.path)),
      (handle) => Effect.promise(() => handle.close().catch(() => {}))
    )
    const now = yield* lift(() => file.info())
    if (now.stamp !== shard.stamp) {
      return yield* new InvalidFile({
        path: shard.path,
        code: "safetensors/changed",
        problem: "has changed since its header was read"
      })
    }
    return file
  })
