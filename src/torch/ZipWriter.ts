/**
 * Lays out an archive exactly as torch 2.13 does: records stored, content aligned to 64 bytes from the start of the item,
 * CRC and sizes in a data descriptor, zip64 end record always present. Every offset is known before any content is, so
 * content can be streamed between the header and the descriptor.
 */
import { crc32 } from "./Crc32.ts"

export interface PlannedRecord {
  /** With the root folder. ASCII. */
  readonly name: string
  /** Bytes of content. */
  readonly length: number
}

export interface ArchiveLayout {
  /** Bytes of the whole archive. */
  readonly length: number
  /** Offset of each record's content. */
  readonly contentOffset: ReadonlyArray<number>
  /** The local header of record `i`; its content follows immediately. */
  readonly header: (i: number) => Uint8Array
  /** What follows the content of record `i`; empty for an empty record. */
  readonly descriptor: (i: number, crc: number) => Uint8Array
  /** Where the directory entries of these records are, from the start of the archive. */
  readonly entryOffset: (records: ReadonlyArray<number>) => ReadonlyArray<number>
  /** The entry of record `i` in the directory, which follows the last descriptor. */
  readonly entry: (i: number, crc: number) => Uint8Array
  /** What follows the directory. */
  readonly end: Uint8Array
  /** Directory and end, from the CRC-32 of every record's content. */
  readonly trailer: (crcs: ReadonlyArray<number>) => Uint8Array
}

const ALIGNMENT = 64
/** From this value on (of a size or an offset) torch switches to the zip64 forms. */
const SATURATED = 0xffffffff
const LOCAL_SIZE = 30
const CENTRAL_SIZE = 46
const TRAILER_SIZE = 56 + 20 + 22

interface PlacedRecord extends PlannedRecord {
  readonly headerOffset: number
  readonly contentOffset: number
  readonly descriptorLength: number
  /** The 64-bit fields that the record's zip64 extra carries: its size twice and/or its offset. */
  readonly wide: ReadonlyArray<number>
}

export const layOut = (records: ReadonlyArray<PlannedRecord>): ArchiveLayout => {
  let cursor = 0
  const placed = records.map((record): PlacedRecord => {
    const one = place(record, cursor)
    cursor = one.contentOffset + record.length + one.descriptorLength
    return one
  })
  const directorySize = placed.reduce((sum, r) => sum + CENTRAL_SIZE + r.name.length + extraSize(r.wide), 0)
  const entries: Array<number> = []
  for (let i = 0, at = cursor; i < placed.length; i++) {
    entries.push(at)
    at += CENTRAL_SIZE + placed[i]!.name.length + extraSize(placed[i]!.wide)
  }
  const ending = end(placed.length, cursor, directorySize)
  return {
    length: cursor + directorySize + TRAILER_SIZE,
    entryOffset: (wanted) => wanted.map((i) => entries[i]!),
    contentOffset: placed.map((r) => r.contentOffset),
    header: (i) => header(placed[i]!),
    descriptor: (i, crc) => descriptor(placed[i]!, crc),
    entry: (i, crc) => central(placed[i]!, crc),
    end: ending,
    trailer: (crcs) => Buffer.concat([...placed.map((r, i) => central(r, crcs[i]!)), ending])
  }
}

/** A whole archive from contents in memory. */
export const archiveOf = (records: ReadonlyArray<{ readonly name: string; readonly content: Uint8Array }>): Uint8Array => {
  const layout = layOut(records.map((r) => ({ name: r.name, length: r.content.length })))
  const crcs = records.map((r) => crc32(r.content))
  const parts = records.flatMap((r, i) => [layout.header(i), r.content, layout.descriptor(i, crcs[i]!)])
  return Buffer.concat([...parts, layout.trailer(crcs)])
}

const extraSize = (wide: ReadonlyArray<number>) => wide.length === 0 ? 0 : 4 + 8 * wide.length

const place = (record: PlannedRecord, headerOffset: number): PlacedRecord => {
  const wide = [
    ...(record.length >= SATURATED ? [record.length, record.length] : []),
    ...(headerOffset >= SATURATED ? [headerOffset] : [])
  ]
  const unpadded = headerOffset + LOCAL_SIZE + record.name.length + extraSize(wide) + 4
  return {
    ...record,
    headerOffset,
    contentOffset: Math.ceil(unpadded / ALIGNMENT) * ALIGNMENT,
    descriptorLength: record.length === 0 ? 0 : wide.length === 0 ? 16 : 24,
    wide
  }
}

/** UTF-8 names; and sizes follow the content, unless there is none. */
const flags = (record: PlacedRecord) => record.length === 0 ? 0x0800 : 0x0808

const writeExtra = (into: Buffer, at: number, wide: ReadonlyArray<number>) => {
  if (wide.length === 0) return
  into.writeUInt16LE(1, at)
  into.writeUInt16LE(8 * wide.length, at + 2)
  wide.forEach((value, i) => into.writeBigUInt64LE(BigInt(value), at + 4 + 8 * i))
}

const header = (r: PlacedRecord): Uint8Array => {
  const bytes = Buffer.alloc(r.contentOffset - r.headerOffset, "Z")
  const extraAt = LOCAL_SIZE + r.name.length
  const paddingAt = extraAt + extraSize(r.wide)
  bytes.fill(0, 0, LOCAL_SIZE)
  bytes.writeUInt32LE(0x04034b50, 0)
  bytes.writeUInt16LE(flags(r), 6)
  bytes.writeUInt16LE(r.name.length, 26)
  bytes.writeUInt16LE(bytes.length - extraAt, 28)
  bytes.write(r.name, LOCAL_SIZE, "latin1")
  // Locally the compressed size, written second, is still 0.
  writeExtra(bytes, extraAt, r.length >= SATURATED ? [r.length, 0, ...r.wide.slice(2)] : r.wide)
  bytes.write("FB", paddingAt, "latin1")
  bytes.writeUInt16LE(bytes.length - paddingAt - 4, paddingAt + 2)
  return bytes
}

const descriptor = (r: PlacedRecord, crc: number): Uint8Array => {
  const bytes = Buffer.alloc(r.descriptorLength)
  if (bytes.length === 0) return bytes
  bytes.writeUInt32LE(0x08074b50, 0)
  bytes.writeUInt32LE(crc, 4)
  if (bytes.length === 16) {
    bytes.writeUInt32LE(r.length, 8)
    bytes.writeUInt32LE(r.length, 12)
  } else {
    bytes.writeBigUInt64LE(BigInt(r.length), 8)
    bytes.writeBigUInt64LE(BigInt(r.length), 16)
  }
  return bytes
}

const central = (r: PlacedRecord, crc: number): Uint8Array => {
  const bytes = Buffer.alloc(CENTRAL_SIZE + r.name.length + extraSize(r.wide))
  const size = Math.min(r.length, SATURATED)
  bytes.writeUInt32LE(0x02014b50, 0)
  bytes.writeUInt16LE(flags(r), 8)
  bytes.writeUInt32LE(crc, 16)
  bytes.writeUInt32LE(size, 20)
  bytes.writeUInt32LE(size, 24)
  bytes.writeUInt16LE(r.name.length, 28)
  bytes.writeUInt16LE(extraSize(r.wide), 30)
  bytes.writeUInt32LE(Math.min(r.headerOffset, SATURATED), 42)
  bytes.write(r.name, CENTRAL_SIZE, "latin1")
  writeExtra(bytes, CENTRAL_SIZE + r.name.length, r.wide)
  return bytes
}

const end = (count: number, directoryOffset: number, directorySize: number): Uint8Array => {
  const bytes = Buffer.alloc(TRAILER_SIZE)
  bytes.writeUInt32LE(0x06064b50, 0)
  bytes.writeBigUInt64LE(44n, 4)
  bytes.writeUInt16LE(0x031e, 12)
  bytes.writeUInt16LE(0x002d, 14)
  bytes.writeBigUInt64LE(BigInt(count), 24)
  bytes.writeBigUInt64LE(BigInt(count), 32)
  bytes.writeBigUInt64LE(BigInt(directorySize), 40)
  bytes.writeBigUInt64LE(BigInt(directoryOffset), 48)
  bytes.writeUInt32LE(0x07064b50, 56)
  bytes.writeBigUInt64LE(BigInt(directoryOffset + directorySize), 64)
  bytes.writeUInt32LE(1, 72)
  bytes.writeUInt32LE(0x06054b50, 76)
  bytes.writeUInt16LE(Math.min(count, 0xffff), 84)
  bytes.writeUInt16LE(Math.min(count, 0xffff), 86)
  bytes.writeUInt32LE(Math.min(directorySize, SATURATED), 88)
  bytes.writeUInt32LE(Math.min(directoryOffset, SATURATED), 92)
  return bytes
}
