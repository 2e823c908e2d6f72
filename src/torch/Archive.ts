/**
 * What every `torch.save` archive has in common: the records around the data, and the id torch derives from them.
 */
import { FormatError, quote } from "../errors.ts"
import { crc32 } from "./Crc32.ts"
import { unpickle } from "./Pickle.ts"
import type { PicklePolicy } from "./PicklePolicy.ts"
import type { PickleValue } from "./PickleValue.ts"
import type { Ranged } from "./Ranges.ts"
import { contentOffset, readDirectory, readRecord } from "./Zip.ts"
import type { ZipDirectory } from "./Zip.ts"

export interface Archive {
  /** Root folder, `archive` or the stem of the file's name. */
  readonly root: string
  readonly records: ZipDirectory
}

/** Bytes of one `data.pkl`; a Megatron `common.pt` is below 1 MB. */
const MAX_PICKLE = 64 << 20
/** Bytes of `byteorder` and `version`. */
const MAX_NOTE = 64

const fail = (code: string, problem: string, record?: string): never => {
  throw new FormatError(`torch/${code}`, problem, record === undefined ? {} : { record })
}

/**
 * Finds the root and checks what torch itself insists on. Errors: those of `zip/…`, `torch/no-pickle`,
 * `torch/several-pickles`, `torch/version`, `torch/byte-order`.
 */
export function* openArchive(length: number): Ranged<Archive> {
  const records = yield* readDirectory(length)
  const pickles = [...records.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name))
  if (pickles.length === 0) throw new FormatError("torch/no-pickle", "the archive has no data.pkl, so it is not one of torch.save", { offset: 0 })
  if (pickles.length > 1) fail("several-pickles", `the archive has ${pickles.length} data.pkl`, pickles[1])
  const root = pickles[0]!.slice(0, -"/data.pkl".length)
  const version = yield* note(records, `${root}/version`)
  // torch 2.13 reads 1 to 10 and writes 3.
  if (version === undefined || !/^([1-9]|10)\n?$/.test(version)) {
    fail("version", `file format version ${quote(version ?? "missing")}; torch knows 1 to 10`, `${root}/version`)
  }
  const order = yield* note(records, `${root}/byteorder`)
  if (order !== undefined && order !== "little") fail("byte-order", `the data is ${quote(order)}-endian`, `${root}/byteorder`)
  return { root, records }
}

export function* readPickle(archive: Archive, policy: PicklePolicy): Ranged<PickleValue> {
  const record = archive.records.get(`${archive.root}/data.pkl`)!
  const bytes = yield* readRecord(record, MAX_PICKLE)
  return yield* inPickle(archive, () => unpickle(bytes, policy))
}

/** What is wrong with something that the archive's pickle says is said of the place of the pickle. */
export function* inPickle<T>(archive: Archive, read: () => T): Ranged<T> {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof FormatError)) throw error
    const record = archive.records.get(`${archive.root}/data.pkl`)!
    const start = yield* contentOffset(record)
    throw new FormatError(error.code, error.message, { ...error.place, record: record.name, offset: start + (error.place.offset ?? 0) })
  }
}

function* note(records: ZipDirectory, name: string): Ranged<string | undefined> {
  const record = records.get(name)
  if (record === undefined) return undefined
  return Buffer.from(yield* readRecord(record, MAX_NOTE)).toString("latin1")
}

const ascii = (text: string): Uint8Array => Buffer.from(text, "latin1")

/** The records that torch 2.13 puts between `data.pkl` and the storages. */
export const LEADING: ReadonlyArray<{ readonly name: string; readonly content: Uint8Array }> = [
  { name: ".format_version", content: ascii("1") },
  { name: ".storage_alignment", content: ascii("64") },
  { name: "byteorder", content: ascii("little") }
]
export const VERSION_RECORD = { name: "version", content: ascii("3\n") } as const
/** 40 digits. */
export const SERIALIZATION_ID = ".data/serialization_id"
export const SERIALIZATION_ID_LENGTH = 40

/**
 * First half of the serialization id: torch's hash of the record names. Known per number of storages (torch 2.13, x86-64
 * Linux wheels), because it depends on the C++ library's string hash. Nothing reads it.
 */
const nameHash = (storages: number): string =>
  ({ 0: "02908468677762923104", 1: "15728199511854643026", 8: "08268647735604577700" } as Record<number, string>)[storages] ??
    "0".repeat(20)

/** Second half of the serialization id: folds the CRC-32 of the next non-empty record into the hash so far. */
export const foldCrc = (hash: bigint, crc: number): bigint =>
  BigInt.asUintN(64, hash ^ (BigInt(crc) + 0x9e3779b9n + BigInt.asUintN(64, hash << 6n) + (hash >> 2n)))

/** The hash after the given contents. */
export const contentHash = (contents: Iterable<Uint8Array>): bigint => {
  let hash = 0n
  for (const content of contents) if (content.length > 0) hash = foldCrc(hash, crc32(content))
  return hash
}

export const serializationId = (storages: number, hash: bigint): string =>
  nameHash(storages) + hash.toString().padStart(20, "0")
