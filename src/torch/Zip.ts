/**
 * Reads the directory of a `torch.save` archive: a ZIP in which every record is stored uncompressed. Only the central
 * directory counts (the local headers of torch carry no sizes); it is found from the end. Nothing is ever extracted by name.
 *
 * Accepts zip64, an archive comment, any root folder, CRC 0 (torch can be told not to compute CRCs). Everything in which
 * two readers could see two different archives is refused.
 */
import { FormatError } from "../errors.ts"
import { crc32 } from "./Crc32.ts"
import type { Ranged } from "./Ranges.ts"

export interface ZipRecord {
  readonly name: string
  /** Bytes of content. */
  readonly size: number
  /** 0 = not computed. */
  readonly crc32: number
  readonly headerOffset: number
  /** The next thing in the archive: content must end at or before this byte. */
  readonly limit: number
}

export type ZipDirectory = ReadonlyMap<string, ZipRecord>

/** A checkpoint object with this many storages is not one; keeps a forged count from costing memory. */
const MAX_RECORDS = 200_000
/** Bytes of the central directory; torch writes about 70 per record. */
const MAX_DIRECTORY = 32 << 20

const LOCAL = 0x04034b50
const CENTRAL = 0x02014b50
const END = 0x06054b50
const END64 = 0x06064b50
const LOCATOR64 = 0x07064b50
const LOCAL_SIZE = 30
const CENTRAL_SIZE = 46
const END_SIZE = 22
const END64_SIZE = 56
const LOCATOR64_SIZE = 20
const MAX_COMMENT = 0xffff
/** Flag bits: encrypted, patch data, strong encryption, masked headers. */
const FORBIDDEN_FLAGS = 0x0001 | 0x0020 | 0x0040 | 0x2000
const SATURATED = 0xffffffff

const fail = (code: string, problem: string, offset: number, record?: string): never => {
  throw new FormatError(`zip/${code}`, problem, record === undefined ? { offset } : { offset, record })
}

/** The records of an archive of `length` bytes, in directory order. */
export function* readDirectory(length: number): Ranged<ZipDirectory> {
  const end = yield* endRecord(length)
  if (end.size > MAX_DIRECTORY) fail("limit", `a directory of ${end.size} bytes; at most ${MAX_DIRECTORY} are read`, end.offset)
  if (end.count > MAX_RECORDS) fail("limit", `${end.count} records; at most ${MAX_RECORDS} are read`, end.offset)
  if (end.count * CENTRAL_SIZE > end.size) fail("directory", `${end.count} records do not fit ${end.size} bytes`, end.offset)
  if (end.count === 0) fail("directory", "the archive has no records", end.offset)
  const bytes = buffer(yield { offset: end.offset, length: end.size })
  const found: Array<Omit<ZipRecord, "limit">> = []
  let at = 0
  for (let i = 0; i < end.count; i++) {
    const [record, next] = centralEntry(bytes, at, end.offset)
    found.push(record)
    at = next
  }
  if (at !== bytes.length) fail("directory", `${bytes.length - at} bytes are left over in the directory`, end.offset + at)
  return withLimits(found, end.offset)
}

/** Where a record's content starts. Checks that its local header tells the same story as the directory. */
export function* contentOffset(record: ZipRecord): Ranged<number> {
  const { headerOffset, name } = record
  const bad = (problem: string): never => fail("local-header", problem, headerOffset, name)
  const head = buffer(yield { offset: headerOffset, length: LOCAL_SIZE })
  if (head.readUInt32LE(0) !== LOCAL) bad("there is no local header where the directory points")
  const flags = head.readUInt16LE(6)
  if (flags & FORBIDDEN_FLAGS) fail("encrypted", "the local header says that the record is encrypted", headerOffset, name)
  if (head.readUInt16LE(8) !== 0) fail("compressed", "the local header says that the record is compressed", headerOffset, name)
  const nameLength = head.readUInt16LE(26)
  const extraLength = head.readUInt16LE(28)
  const start = headerOffset + LOCAL_SIZE + nameLength + extraLength
  if (start + record.size > record.limit) bad(`${record.size} bytes from byte ${start} run into what follows`)
  const rest = buffer(yield { offset: headerOffset + LOCAL_SIZE, length: Math.max(1, nameLength + extraLength) })
  if (rest.toString("latin1", 0, nameLength) !== name) bad("the local header has another name than the directory")
  const sizes = wide(rest.subarray(nameLength), [head.readUInt32LE(22), head.readUInt32LE(18)])
  const streamed = (flags & 0x0008) !== 0
  for (const said of sizes) {
    if (said !== record.size && !(streamed && said === 0)) bad(`the local header gives ${said} bytes, the directory ${record.size}`)
  }
  const crc = head.readUInt32LE(14)
  if (crc !== record.crc32 && crc !== 0 && record.crc32 !== 0) bad("the local header has another CRC than the directory")
  return start
}

/** The whole content of a small record, CRC checked if there is one. */
export function* readRecord(record: ZipRecord, maxLength: number): Ranged<Uint8Array> {
  const offset = yield* contentOffset(record)
  if (record.size > maxLength) fail("limit", `a record of ${record.size} bytes; at most ${maxLength} are read`, offset, record.name)
  if (record.size === 0) return new Uint8Array(0)
  const bytes = yield { offset, length: record.size }
  if (record.crc32 !== 0 && crc32(bytes) !== record.crc32) fail("crc", "the content does not match its CRC-32", offset, record.name)
  return bytes
}

interface DirectoryPlace {
  readonly offset: number
  readonly size: number
  readonly count: number
}

function* endRecord(length: number): Ranged<DirectoryPlace> {
  if (length < END_SIZE) fail("no-end", `${length} bytes are too few for an archive`, 0)
  const head = buffer(yield { offset: 0, length: 4 })
  if (head.readUInt32LE(0) !== LOCAL) fail("not-zip", notZip(head), 0)
  const at = yield* findEnd(length)
  const end = buffer(yield { offset: at, length: END_SIZE })
  const [disk, directoryDisk, here, count] = [4, 6, 8, 10].map((i) => end.readUInt16LE(i))
  let place: DirectoryPlace = { count: count!, size: end.readUInt32LE(12), offset: end.readUInt32LE(16) }
  let stop = at
  if (disk !== 0 || directoryDisk !== 0 || here !== count) fail("disks", "an archive that spans disks", at)
  const locator = at >= LOCATOR64_SIZE + END64_SIZE
    ? buffer(yield { offset: at - LOCATOR64_SIZE, length: LOCATOR64_SIZE })
    : undefined
  if (locator?.readUInt32LE(0) === LOCATOR64) {
    stop = at - LOCATOR64_SIZE - END64_SIZE
    if (u64(locator, 8) !== stop) fail("zip64", "the zip64 end record is not where its locator says", at - LOCATOR64_SIZE)
    const end64 = buffer(yield { offset: stop, length: END64_SIZE })
    if (end64.readUInt32LE(0) !== END64 || u64(end64, 4) !== END64_SIZE - 12) fail("zip64", "not a zip64 end record", stop)
    if (end64.readUInt32LE(16) !== 0 || end64.readUInt32LE(20) !== 0 || u64(end64, 24) !== u64(end64, 32)) {
      fail("disks", "an archive that spans disks", stop)
    }
    const wider = { count: u64(end64, 32), size: u64(end64, 40), offset: u64(end64, 48) }
    const agrees = (small: number, large: number, full: number) => small === large || small === full
    if (!agrees(place.count, wider.count, 0xffff) || !agrees(place.size, wider.size, SATURATED) || !agrees(place.offset, wider.offset, SATURATED)) {
      fail("zip64", "the two end records disagree", at)
    }
    place = wider
  }
  if (place.offset + place.size !== stop) fail("directory", `the directory does not end where the end record begins (byte ${stop})`, at)
  return place
}

/** The end record reaches exactly to the end of the archive, comment included. */
function* findEnd(length: number): Ranged<number> {
  const plain = buffer(yield { offset: length - END_SIZE, length: END_SIZE })
  if (plain.readUInt32LE(0) === END && plain.readUInt16LE(20) === 0) return length - END_SIZE
  const span = Math.min(length, END_SIZE + MAX_COMMENT)
  const tail = buffer(yield { offset: length - span, length: span })
  for (let at = span - END_SIZE; at >= 0; at--) {
    if (tail[at] === 0x50 && tail.readUInt32LE(at) === END && tail.readUInt16LE(at + 20) === span - END_SIZE - at) {
      return length - span + at
    }
  }
  return fail("no-end", "the archive has no end record at its end: it is cut short, or something was added", length)
}

const centralEntry = (bytes: Buffer, at: number, base: number): readonly [Omit<ZipRecord, "limit">, number] => {
  const place = base + at
  if (at + CENTRAL_SIZE > bytes.length || bytes.readUInt32LE(at) !== CENTRAL) fail("directory", "not a directory entry", place)
  const [nameLength, extraLength, commentLength] = [28, 30, 32].map((i) => bytes.readUInt16LE(at + i))
  const nameAt = at + CENTRAL_SIZE
  const extraAt = nameAt + nameLength!
  const next = extraAt + extraLength! + commentLength!
  if (next > bytes.length) fail("directory", "a directory entry runs out of the directory", place)
  const name = bytes.toString("latin1", nameAt, extraAt)
  if (bytes.readUInt16LE(at + 8) & FORBIDDEN_FLAGS) fail("encrypted", "the record is encrypted", place, name)
  if (bytes.readUInt16LE(at + 10) !== 0) fail("compressed", "the record is compressed; torch only stores", place, name)
  if (bytes.readUInt16LE(at + 34) !== 0) fail("disks", "the record is on another disk", place, name)
  const [size, compressed, headerOffset] = wide(
    bytes.subarray(extraAt, extraAt + extraLength!),
    [bytes.readUInt32LE(at + 24), bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 42)],
    { place, name }
  )
  if (size !== compressed) fail("size", `a stored record of ${compressed} bytes that claims ${size}`, place, name)
  return [{ name, size: size!, crc32: bytes.readUInt32LE(at + 16), headerOffset: headerOffset! }, next]
}

/**
 * Replaces saturated 32-bit fields by those of the zip64 extra field, which lists only them, in this order. A directory
 * entry must have them.
 */
const wide = (extra: Buffer, fields: ReadonlyArray<number>, entry?: { readonly place: number; readonly name: string }): ReadonlyArray<number> => {
  const missing = (): never => fail("zip64", "a 64-bit size or offset is missing", entry?.place ?? 0, entry?.name)
  if (fields.every((field) => field !== SATURATED)) return fields
  for (let at = 0; at + 4 <= extra.length;) {
    const size = extra.readUInt16LE(at + 2)
    if (extra.readUInt16LE(at) === 1 && at + 4 + size <= extra.length) {
      let from = at + 4
      return fields.map((field) => {
        if (field !== SATURATED) return field
        if (from + 8 > at + 4 + size) missing()
        from += 8
        return u64(extra, from - 8)
      })
    }
    at += 4 + size
  }
  return entry === undefined ? fields : missing()
}

/** Refuses names that occur twice and records that share bytes or reach into the directory. */
const withLimits = (found: ReadonlyArray<Omit<ZipRecord, "limit">>, directory: number): ZipDirectory => {
  const byPlace = [...found].sort((a, b) => a.headerOffset - b.headerOffset)
  const limits = new Map<Omit<ZipRecord, "limit">, number>()
  byPlace.forEach((record, i) => {
    const limit = byPlace[i + 1]?.headerOffset ?? directory
    if (limit > directory || record.headerOffset + LOCAL_SIZE + record.name.length + record.size > limit) {
      fail("bounds", "the record runs into the next one or out of the archive", record.headerOffset, record.name)
    }
    limits.set(record, limit)
  })
  if (byPlace[0]!.headerOffset !== 0) fail("bounds", "the archive does not begin with a record", 0)
  const records = new Map<string, ZipRecord>()
  for (const record of found) {
    if (records.has(record.name)) fail("duplicate", "two records have this name", record.headerOffset, record.name)
    records.set(record.name, { ...record, limit: limits.get(record)! })
  }
  return records
}

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Beyond 2^53: infinity, which no bound admits. */
const u64 = (bytes: Buffer, at: number): number => {
  const value = bytes.readBigUInt64LE(at)
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : Number.POSITIVE_INFINITY
}

const notZip = (head: Uint8Array): string =>
  head[0] === 0x80 && head[1] === 0x02
    ? "not a ZIP archive: a bare pickle, or a file of torch before 1.6"
    : "not a ZIP archive as torch.save writes it"
