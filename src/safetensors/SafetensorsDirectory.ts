/**
 * A Hugging Face checkpoint as a set of tensors: every header read and checked, no data. Works on a directory (sharded or
 * not, also a snapshot of the Hugging Face cache), on one safetensors file and on one index file.
 */
import { Effect, type Scope } from "effect"
import { join } from "node:path"
import { atPath } from "../document/decode.ts"
import { positioned } from "../document/position.ts"
import { InvalidFile, IoError, NoSpace, quote, some } from "../errors.ts"
import { Disk, type DiskCalls, type DiskError, type DiskFile, type FileInfo, lift, readFully } from "../io/Disk.ts"
import { isNotThere } from "../io/existing.ts"
import { refuseSpecials } from "../io/specials.ts"
import { type FileIdentity, identityOf, sameFile } from "../io/identity.ts"
import { type Header, LENGTH_BYTES, MOST_TENSORS, parseHeader, readHeaderLength } from "./Header.ts"
import { checkIndex, parseIndex, type SafetensorsIndex, shardsOf, totalSize } from "./ShardIndex.ts"
import { type Entry, isWeightsName, locate, openRegular, realPathInside } from "./locate.ts"
import { otherFormat, refuseOtherThanJson, START_BYTES } from "./otherFormat.ts"
import type { TensorInfo } from "./Tensor.ts"

/** Headers stay in memory; one has at most 100 MB, and the largest known checkpoints have about 20 MB in all. */
const LARGEST_HEADERS = 400_000_000
/** Of an index file: what its parser accepts, and one more byte to notice the excess. */
const LARGEST_INDEX_READ = 100_000_001
const CONCURRENT_FILES = 8

/** One safetensors file. */
export interface Shard {
  /** Name relative to the directory, as in the index. */
  readonly file: string
  readonly path: string
  /** Bytes. */
  readonly size: number
  readonly identity: FileIdentity
  /** Length field and JSON as in the file: the same tensors at the same places need the same bytes. */
  readonly headerBytes: Uint8Array
  readonly metadata: ReadonlyMap<string, string> | undefined
  /** In the order of their data. */
  readonly tensors: ReadonlyArray<HfTensor>
}

export interface HfTensor extends TensorInfo {
  /** Position in {@link HfTensors.shards}. */
  readonly shard: number
}

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

export type SafetensorsError = InvalidFile | DiskError

/** Like `lift`, for promises that may also find a file invalid. */
export const attempt = <A>(call: () => Promise<A>): Effect.Effect<A, SafetensorsError> =>
  Effect.tryPromise({ try: call, catch: (error) => error }).pipe(
    Effect.catch((error) =>
      error instanceof InvalidFile || error instanceof IoError || error instanceof NoSpace ? Effect.fail(error) : Effect.die(error)
    )
  )

/**
 * Open a checkpoint. `path` is a directory, a `.safetensors` file or a `.safetensors.index.json`.
 *
 * **Gotchas**: `model.safetensors.index.json` wins over a `model.safetensors` beside it, which is then named in `otherFiles`.
 *
 * @throws InvalidFile for anything wrong with the layout, the index or a header, naming file and tensor; IoError.
 */
export const openSafetensors = Effect.fnUntraced(function*(path: string) {
  const disk = yield* Disk
  const entry = yield* attempt(() => locate(disk, path))
  const indexBytes = entry.kind === "index" ? yield* attempt(() => readIndexBytes(disk, entry)) : undefined
  const indexPath = join(entry.directory, entry.file)
  const index = indexBytes && (yield* attempt(async () => {
    refuseOtherThanJson(indexPath, indexBytes)
    return atPath(indexPath, () => parseIndex(indexBytes), indexBytes)
  }))
  const budget = { bytes: LARGEST_HEADERS, tensors: MOST_TENSORS }
  const shards = yield* Effect.forEach(
    index ? shardsOf(index) : [entry.file],
    (file, number) => attempt(() => readShard(disk, entry, file, number, index, indexBytes, budget)),
    { concurrency: CONCURRENT_FILES }
  )
  return yield* attempt(async () => {
    const read = new Set(shards.map(({ file }) => file))
    await refuseSpecials(disk, entry.directory, entry.names.filter((name) => !read.has(name)), isWeightsName)
    return assemble(entry, shards, indexPath, index, indexBytes)
  })
})

const readIndexBytes = (disk: DiskCalls, entry: Entry): Promise<Uint8Array> =>
  withFile(disk, entry, entry.file, async (file, { size }) => {
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
  disk: DiskCalls,
  entry: Entry,
  file: string,
  number: number,
  index: SafetensorsIndex | undefined,
  indexBytes: Uint8Array | undefined,
  budget: Budget
): Promise<Shard> => {
  const path = join(entry.directory, file)
  const read = async (handle: DiskFile, identity: FileInfo): Promise<Shard> => {
    const { headerBytes, metadata, tensors } = await readHeader(handle, path, identity.size, budget)
    return {
      file,
      path,
      size: identity.size,
      identity: identityOf(identity),
      headerBytes,
      metadata,
      tensors: tensors.map(({ begin, dtype, end, name, shape }) => ({ name, dtype, shape, begin, end, shard: number }))
    }
  }
  return withFile(disk, entry, file, read).catch(async (error: unknown): Promise<never> => {
    throw index && isNotThere(error) ? await missingShard(disk, entry, index, indexBytes!) ?? error : error
  })
}

/** The first shard, by name, that is not there: shards are read in no certain order. Undefined if all have come to be. */
const missingShard = async (disk: DiskCalls, entry: Entry, index: SafetensorsIndex, indexBytes: Uint8Array): Promise<InvalidFile | undefined> => {
  const missing: Array<{ readonly file: string; readonly problem: string }> = []
  for (const file of shardsOf(index)) {
    await realPathInside(disk, entry.directory, file).catch((error: unknown) => {
      if (error instanceof InvalidFile && isNotThere(error)) missing.push({ file, problem: error.problem })
    })
  }
  const [first, ...others] = missing
  if (!first) return undefined
  const more = others.length === 0 ? "" : `; ${others.length} more shard${others.length === 1 ? " is" : "s are"} missing, the last of them ${quote(others.at(-1)!.file)}`
  const listed = new Set(shardsOf(index))
  const unlisted = entry.weights.filter((name) => !listed.has(name))
  return new InvalidFile({
    ...(unlisted.length === 0 ? {} : { hint: `${some(unlisted, 3)} ${unlisted.length === 1 ? "is" : "are"} there, which the index does not name: an index of another numbering. Take the one that belongs to these files.` }),
    path: join(entry.directory, first.file),
    code: "safetensors/missing-shard",
    problem: `${first.problem}, but ${entry.file} places tensors in it${more}`,
    place: { ...positioned({ tensor: index.weightMap.entries().find(([, shard]) => shard === first.file)?.[0] }, indexBytes), record: entry.file }
  })
}

/** Open, check and close one file of the checkpoint. */
const withFile = async <A>(
  disk: DiskCalls,
  entry: Entry,
  file: string,
  use: (handle: DiskFile, info: FileInfo) => Promise<A>
): Promise<A> => {
  const path = join(entry.directory, file)
  const named = entry.named && file === entry.file
  const handle = await openRegular(disk, named ? path : await realPathInside(disk, entry.directory, file), path)
  try {
    return await use(handle, await handle.info())
  } finally {
    await handle.close()
  }
}

/** Read and parse the header of an open file. */
const readHeader = async (handle: DiskFile, path: string, size: number, budget: Budget): Promise<Header> => {
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

const assemble = (
  entry: Entry,
  shards: ReadonlyArray<Shard>,
  indexPath: string,
  index: SafetensorsIndex | undefined,
  indexBytes: Uint8Array | undefined
): HfTensors => {
  const warnings: Array<string> = []
  const tensors = new Map<string, HfTensor>()
  let tensorBytes = 0
  if (index) {
    atPath(indexPath, () => checkIndex(index, shards), indexBytes)
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
export const openShard = (shard: Shard): Effect.Effect<DiskFile, SafetensorsError, Disk | Scope.Scope> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    const file = yield* Effect.acquireRelease(
      attempt(() => openRegular(disk, shard.path, shard.path)),
      (handle) => Effect.promise(() => handle.close().catch(() => {}))
    )
    const now = yield* lift(() => file.info())
    if (!sameFile(shard.identity, now)) {
      return yield* new InvalidFile({
        path: shard.path,
        code: "safetensors/changed",
        problem: "has changed since its header was read"
      })
    }
    return file
  })
