/**
 * A Megatron `torch_dist` checkpoint as a tensor space: opened, checked, its keys put into the form that mapping rows know.
 * Only headers are read. What the reference lets pass in silence (no tracker, chunk holes, wrong dtypes) is an error here.
 */
import { Effect } from "effect"
import { basename, join } from "node:path"
import { atPath } from "../document/decode.ts"
import { positioned } from "../document/position.ts"
import { parseJson } from "../document/StrictJson.ts"
import { FormatError, InvalidFile, type Place, quote, Unsupported } from "../errors.ts"
import type { Store } from "../store/Store.ts"
import { reading } from "../io/attempt.ts"
import { existing, isNotThere } from "../store/existing.ts"
import { refuseSpecials } from "../store/specials.ts"
import { storeToRead } from "../publish/staging/storeToRead.ts"
import { type PlainDcp, recognisePlainDcp } from "../recognise/megatronKeys.ts"
import { nestedCheckpoint, recogniseFiles, ZARR } from "../recognise/files.ts"
import { refusal } from "../recognise/Recognised.ts"
import { isAdapterKey } from "../model/adapterKey.ts"
import { modalityOf } from "../model/storedKey.ts"
import { checkMetadata } from "../torch/DcpCheck.ts"
import { type DcpMetadata, decodeMetadata, METADATA_LIMITS, type StoredObject } from "../torch/DcpMetadata.ts"
import { pyRead } from "../torch/PyValue.ts"
import { readTrainState } from "../torch/TrainState.ts"
import { readCommonState } from "../checkpoint/CommonState.ts"
import { BACKEND, COMMON_FILE, COMMON_STATE, iterationFolder, iterationOf, METADATA, TRACKER, TRAIN_STATE_TRACKER } from "../checkpoint/names.ts"
import { plainAsWhole, runOfPlain } from "../checkpoint/plainDcp.ts"
import { openRanks, type RankArchives } from "../checkpoint/legacy/openRanks.ts"
import { isOfRanks } from "../checkpoint/legacy/rankFolders.ts"
import { ownFile, readOwn } from "../checkpoint/ownFile.ts"
import { moduleStates, type SortedKeys, sortKeys } from "./sortKeys.ts"
import type { ItemsPlace, TensorSpace } from "./TensorSpace.ts"

/** Trackers and metadata.json are tens of bytes to a few KB. */
const LARGEST_SMALL_FILE = 1 << 20

export interface Checkpoint extends SortedKeys {
  /** The `iter_*` (or `release`) folder. */
  readonly directory: string
  readonly metadata: DcpMetadata
  /** Module states by their key without DDP's `module.`: made at each call, since there are as many as modules and hardly anybody asks. */
  readonly objects: () => ReadonlyMap<string, StoredObject>
  readonly form: "mimo" | "standard"
  /** Bytes of every data file, by name. */
  readonly fileSizes: ReadonlyMap<string, number>
  readonly notes: ReadonlyArray<string>
  /** Of a `torch` checkpoint, which has a file for each rank and no index: `metadata` is then made up of their pieces. */
  readonly ranks?: RankArchives
  /** Of plain DCP (`fsdp_dtensor`, `torch_dcp`): `metadata` then says what its index is as one of `torch_dist`. */
  readonly plainDcp?: true
}

/** Tensors of the model and those that travel beside it, by the keys they are stored under. */
export const withKept = ({ kept, tensors }: Pick<Checkpoint, "kept" | "tensors">): TensorSpace<ItemsPlace> =>
  ({ tensors: new Map([...tensors, ...Iterator.from(kept.values()).map((tensor) => [tensor.name, tensor] as const)]) })

const invalid = (path: string, code: string, problem: string, hint?: string): InvalidFile =>
  new InvalidFile({ path, code: `checkpoint/${code}`, problem, ...(hint ? { hint } : {}) })

const invalidAt = (path: string, code: string, place: Place, problem: string): InvalidFile =>
  new InvalidFile({ path, code: `checkpoint/${code}`, problem, place })

const isIterationFolder = (names: ReadonlyArray<string>): boolean => names.includes(METADATA) || names.includes(BACKEND)

/** Step that a parent directory's trackers name; both must agree where both are there. */
const trackedFolder = async (store: Store, parent: string, names: ReadonlyArray<string>): Promise<string> => {
  const steps = new Map<string, string>()
  if (names.includes(TRACKER)) {
    const path = join(parent, TRACKER)
    const text = new TextDecoder().decode(await readOwn(store, parent, TRACKER, LARGEST_SMALL_FILE)).trim()
    if (text !== "release" && !/^\d{1,15}$/.test(text)) throw invalidAt(path, "tracker", { offset: 0 }, `says "${quote(text)}", which is no training step`)
    steps.set(TRACKER, text === "release" ? text : iterationFolder(Number(text)))
  }
  if (names.includes(TRAIN_STATE_TRACKER)) {
    const path = join(parent, TRAIN_STATE_TRACKER)
    const bytes = await readOwn(store, parent, TRAIN_STATE_TRACKER, LARGEST_SMALL_FILE)
    steps.set(TRAIN_STATE_TRACKER, iterationFolder(atPath(path, () => readTrainState(bytes)).step))
  }
  const folders = [...new Set(steps.values())]
  if (folders.length === 0) {
    throw invalid(parent, "no-tracker", `has neither ${TRAIN_STATE_TRACKER} nor ${TRACKER}, so nothing says which iteration is complete`,
      "Name the iter_* folder itself. (The reference would load random weights from here.)")
  }
  if (folders.length > 1 && !folders.includes("release")) {
    throw invalid(parent, "trackers-disagree", `${[...steps].map(([file, folder]) => `${file} names ${folder}`).join(", ")}`)
  }
  const [[tracker, folder]] = [...steps] as [[string, string]]
  if (!names.includes(folder)) throw invalidAt(join(parent, tracker), "tracker", { offset: 0 }, `names ${folder}, which is not there`)
  return folder
}

/** The folder that holds the checkpoint: `path` itself or, in a parent directory, the one its trackers name. */
const resolveFolder = async (store: Store, path: string): Promise<{ readonly directory: string; readonly notes: ReadonlyArray<string> }> => {
  if ((await existing(store, path)).kind !== "directory") {
    const found = recogniseFiles([basename(path)])
    throw found ? refusal(path, found) : invalid(path, "not-a-directory", "is not a directory")
  }
  const names = await store.list(path)
  if (isIterationFolder(names)) return { directory: path, notes: [] }
  if (names.some(isOfRanks)) return { directory: path, notes: [] }
  const iterations = names.filter((name) => iterationOf(name) !== undefined || name === "release")
  if (iterations.length === 0) {
    const nested = nestedCheckpoint(names)
    if (nested !== undefined) return resolveFolder(store, join(path, nested))
    const found = recogniseFiles(names)
    if (found) throw refusal(path, found)
    throw invalid(path, "not-a-checkpoint", `is no Megatron checkpoint: neither ${METADATA} nor an iter_* folder is in it`)
  }
  const folder = await trackedFolder(store, path, names)
  const notes = iterations.length > 1 ? [`${quote(path)} holds ${iterations.length} iterations; ${folder} is read`] : []
  const directory = join(path, folder)
  if ((await existing(store, directory)).kind !== "directory") throw invalid(directory, "not-a-directory", "is not a directory")
  return { directory, notes }
}

const checkBackend = async (store: Store, directory: string): Promise<void> => {
  const path = join(directory, BACKEND)
  const bytes = await readOwn(store, directory, BACKEND, LARGEST_SMALL_FILE)
  const json = atPath(path, () => parseJson(bytes)) as { sharded_backend?: unknown } | null
  const backend = json?.sharded_backend
  if (typeof backend !== "string") {
    throw new InvalidFile({ path, code: "checkpoint/backend", problem: "does not say which format the checkpoint has", place: positioned({ field: "sharded_backend" }, bytes) })
  }
  if (backend !== "torch_dist") {
    throw new Unsupported({
      code: "unsupported/backend",
      what: path,
      problem: `the checkpoint's format is ${quote(backend)}; torch_dist is what is read here`,
      hint: backend === "zarr"
        ? ZARR
        : "Load it with the trainer that wrote it and save it with --ckpt-format torch_dist."
    })
  }
}

interface Index {
  readonly bytes: Uint8Array
  readonly metadata: DcpMetadata
  /** It is one of plain DCP, not of `torch_dist`. */
  readonly plain: PlainDcp | undefined
}

/** The index. Without metadata.json it is one of plain DCP, or that file is missing: then nothing else is judged. */
const readIndex = async (store: Store, directory: string, names: ReadonlyArray<string>): Promise<Index> => {
  const path = join(directory, METADATA)
  const hasBackend = names.includes(BACKEND)
  if (hasBackend) await checkBackend(store, directory)
  const noBackend = () => invalid(join(directory, BACKEND), "no-backend", "does not exist: without it Megatron takes the folder for another format (torch_dcp or fsdp_dtensor)")
  if (!names.includes(METADATA)) throw hasBackend ? invalid(path, "no-metadata", "does not exist: the save was interrupted or the copy is incomplete") : noBackend()
  const bytes = await readOwn(store, directory, METADATA, METADATA_LIMITS.maxBytes)
  const decoded = (): DcpMetadata => {
    try {
      return decodeMetadata(bytes)
    } catch (error) {
      throw error instanceof FormatError && !hasBackend ? noBackend() : error
    }
  }
  const metadata = atPath(path, decoded, bytes)
  const plain = recognisePlainDcp(metadata, hasBackend)
  if (plain && "next" in plain) throw refusal(directory, plain)
  if (!plain && !hasBackend) throw noBackend()
  return { bytes, metadata, plain }
}

/** Nothing of it is needed, but what no loader could read is no checkpoint. */
const checkCommonState = async (store: Store, directory: string, metadata: DcpMetadata): Promise<void> => {
  const common = await readCommonState(store, directory, metadata)
  if (!common || common.value instanceof Map) return
  throw new InvalidFile({
    path: join(directory, common.file),
    code: "checkpoint/common-state",
    problem: "holds a common state that is not a dict",
    place: common.file === COMMON_FILE ? {} : { tensor: COMMON_STATE }
  })
}

const dataFileSizes = async (store: Store, directory: string, metadata: DcpMetadata, bytes: Uint8Array): Promise<Map<string, number>> => {
  const first = new Map<string, string>()
  for (const [key, tensor] of metadata.tensors) for (const c of tensor.chunks) if (!first.has(c.file)) first.set(c.file, key)
  for (const [key, object] of metadata.objects) if (!first.has(object.file)) first.set(object.file, key)
  const sizes = new Map<string, number>()
  for (const [file, key] of first) {
    const path = await ownFile(store, directory, file).catch((error: unknown): never => {
      if (!isNotThere(error)) throw error
      const problem = `does not exist, but ${METADATA} places data in it`
      throw new InvalidFile({ path: join(directory, file), code: "checkpoint/missing-file", problem, place: { ...positioned({ tensor: key }, bytes), record: METADATA } })
    })
    const info = await store.stat(path)
    if (info.kind !== "file") throw invalid(path, "not-a-file", "is not a regular file")
    sizes.set(file, info.size)
  }
  return sizes
}

/** What an index says of a model. `path`, `bytes`: of the index, for errors. */
const described = (directory: string, metadata: DcpMetadata, fileSizes: ReadonlyMap<string, number>, path: string, bytes: Uint8Array, notes: ReadonlyArray<string>): Checkpoint => {
  const sorted = sortKeys(directory, metadata, path, bytes)
  return {
    directory,
    metadata,
    ...sorted,
    objects: () => moduleStates(metadata),
    form: [...sorted.tensors.keys()].some((key) => modalityOf(key) !== undefined) ? "mimo" : "standard",
    fileSizes,
    notes: [
      ...notes,
      ...(sorted.wrapped ? [`the keys of ${basename(directory)} carry a wrapper's prefix (module. or model.); read as if they did not`] : []),
      ...(sorted.localSpec ? [`norms of ${basename(directory)} have the names of Megatron-Core's local layer specification; read by those of Transformer Engine's`] : [])
    ]
  }
}

/** What the first rank says of the run; the others say the same. */
const runOf = ({ ranks: [first] }: RankArchives) => ({ file: first!.archive.file, value: pyRead(first!.archive.common) })

/** A `torch` checkpoint as if it were stored in one piece. */
const ofRanks = (directory: string, ranks: RankArchives, notes: ReadonlyArray<string>): Checkpoint => {
  const metadata = { tensors: new Map([...ranks.tensors, ...(ranks.optimizer?.tensors ?? [])]), objects: new Map(), className: "torch.distributed.checkpoint.metadata.Metadata", run: runOf(ranks) }
  const fileSizes = new Map(ranks.files.map(({ file, size }) => [file, size]))
  return { ...described(directory, metadata, fileSizes, directory, new Uint8Array(0), [...notes, ...ranks.notes]), ranks }
}

/** A checkpoint of plain DCP as one of `torch_dist`. `bytes`: its index. */
const ofPlainDcp = (directory: string, metadata: DcpMetadata, run: NonNullable<DcpMetadata["run"]>, fileSizes: ReadonlyMap<string, number>, bytes: Uint8Array, notes: ReadonlyArray<string>): Checkpoint => {
  const path = join(directory, METADATA)
  return { ...described(directory, atPath(path, () => plainAsWhole(directory, metadata, run), bytes), fileSizes, path, bytes, notes), plainDcp: true }
}

/**
 * Open a checkpoint: the parent directory or one `iter_*` folder.
 *
 * @throws InvalidFile (`checkpoint/…`, `dcp/…`, `pickle/…`, `torch/…`), Unsupported for other formats, IoError.
 */
export const openCheckpoint = Effect.fnUntraced(function*(path: string) {
  const store = yield* storeToRead(path)
  return yield* reading(async (): Promise<Checkpoint> => {
    const { directory, notes } = await resolveFolder(store, path)
    const names = await store.list(directory)
    if (!isIterationFolder(names) && names.some(isOfRanks)) return ofRanks(directory, await openRanks(store, directory, names), notes)
    const metadataPath = join(directory, METADATA)
    const { bytes, metadata, plain } = await readIndex(store, directory, names)
    const fileSizes = await dataFileSizes(store, directory, metadata, bytes)
    await refuseSpecials(store, directory, names.filter((name) => !name.startsWith(".") && !fileSizes.has(name)), (name) => name.endsWith(".distcp"))
    atPath(metadataPath, () => checkMetadata(metadata, fileSizes, { sparse: isAdapterKey, objectKeys: plain ? "any" : "torch_dist" }), bytes)
    if (plain) return ofPlainDcp(directory, metadata, await runOfPlain(store, directory, metadata), fileSizes, bytes, [...notes, plain.note])
    if (!names.includes(COMMON_FILE) && !metadata.objects.has(COMMON_STATE)) {
      throw invalid(directory, "no-common-state", `has neither ${COMMON_FILE} nor the entry ${COMMON_STATE}; every Megatron version refuses that`)
    }
    await checkCommonState(store, directory, metadata)
    return described(directory, metadata, fileSizes, metadataPath, bytes, notes)
  })
})
