/** Archives of `torch.save` with every field open to change. */
import { crc32, deflateRawSync } from "node:zlib"

export interface ZipEntry {
  readonly name: string
  readonly content: Uint8Array
  /** Fields of both headers that differ from what they should be. */
  readonly crc?: number
  readonly method?: number
  readonly flags?: number
  /** Of the local header alone. */
  readonly localName?: string
  readonly localSize?: number
  /** Of the directory alone. */
  readonly size?: number
  readonly compressed?: number
  readonly headerOffset?: number
  readonly disk?: number
  readonly comment?: string
  /** Content compressed with method 8, truthfully. */
  readonly deflate?: boolean
  /** Sizes and offset in 64-bit fields. */
  readonly wide?: boolean
}

export interface ZipStyle {
  /** Content starts at multiples of this. Default 64. */
  readonly align?: number
  /** Sizes and CRC behind the content (as torch does) or in front of it. Default true. */
  readonly streamed?: boolean
  readonly comment?: string
  /** `always` as torch does, or only where 32 bits are not enough. Default true. */
  readonly zip64?: boolean
  /** Change the finished parts. */
  readonly end?: (fields: EndFields) => EndFields
  readonly before?: Uint8Array
  readonly gap?: Uint8Array
  readonly after?: Uint8Array
}

export interface EndFields {
  readonly count: number
  readonly countHere: number
  readonly size: number
  readonly offset: number
  readonly disk: number
  readonly count64: number
  readonly size64: number
  readonly offset64: number
  readonly locator: number
}

const u16 = (n: number): Buffer => {
  const b = Buffer.alloc(2)
  b.writeUInt16LE(n & 0xffff)
  return b
}
const u32 = (n: number): Buffer => {
  const b = Buffer.alloc(4)
  b.writeUInt32LE(n >>> 0)
  return b
}
const u64 = (n: number): Buffer => {
  const b = Buffer.alloc(8)
  b.writeBigUInt64LE(BigInt(n))
  return b
}

export const zip = (entries: ReadonlyArray<ZipEntry>, style: ZipStyle = {}): Buffer => {
  const { after, align = 64, before, comment = "", gap, streamed = true, zip64 = true } = style
  const parts: Array<Uint8Array> = []
  let at = 0
  const put = (...bytes: ReadonlyArray<Uint8Array>): void => {
    for (const b of bytes) {
      parts.push(b)
      at += b.length
    }
  }
  if (before) put(before)
  const central: Array<Buffer> = []
  for (const entry of entries) {
    const stored = entry.deflate ? deflateRawSync(entry.content) : entry.content
    const crc = entry.crc ?? crc32(entry.content)
    const method = entry.method ?? (entry.deflate ? 8 : 0)
    const flags = entry.flags ?? (streamed ? 0x0808 : 0x0800)
    const header = entry.headerOffset ?? at
    const name = Buffer.from(entry.name)
    const localName = Buffer.from(entry.localName ?? entry.name)
    const wide = entry.wide ? Buffer.concat([u16(1), u16(16), u64(entry.content.length), u64(stored.length)]) : Buffer.alloc(0)
    const unpadded = at + 30 + localName.length + wide.length + 4
    const padding = align > 1 ? (align - (unpadded % align)) % align : 0
    const extra = align > 1 ? Buffer.concat([wide, Buffer.from("FB"), u16(padding), Buffer.alloc(padding, "Z")]) : wide
    const size = entry.wide ? 0xffffffff : stored.length
    put(
      u32(0x04034b50), u16(0), u16(flags), u16(method), u32(0),
      u32(streamed ? 0 : crc), u32(streamed ? 0 : size), u32(entry.localSize ?? (streamed ? 0 : size)),
      u16(localName.length), u16(extra.length), localName, extra, stored
    )
    if (streamed && stored.length > 0) {
      put(u32(0x08074b50), u32(crc), ...(entry.wide ? [u64(stored.length), u64(entry.content.length)] : [u32(stored.length), u32(entry.content.length)]))
    }
    const centralExtra = entry.wide ? Buffer.concat([u16(1), u16(24), u64(entry.content.length), u64(stored.length), u64(header)]) : Buffer.alloc(0)
    central.push(Buffer.concat([
      u32(0x02014b50), u16(0), u16(0), u16(flags), u16(method), u32(0), u32(crc),
      u32(entry.compressed ?? size), u32(entry.size ?? (entry.wide ? 0xffffffff : entry.content.length)),
      u16(name.length), u16(centralExtra.length), u16((entry.comment ?? "").length), u16(entry.disk ?? 0), u16(0), u32(0),
      u32(entry.wide ? 0xffffffff : header), name, centralExtra, Buffer.from(entry.comment ?? "")
    ]))
  }
  if (gap) put(gap)
  const directory = Buffer.concat(central)
  const true_ = { count: entries.length, size: directory.length, offset: at, locator: at + directory.length }
  const end: EndFields = { ...true_, countHere: true_.count, disk: 0, count64: true_.count, size64: true_.size, offset64: true_.offset }
  const said = style.end ? style.end(end) : end
  put(directory)
  if (zip64) {
    put(u32(0x06064b50), u64(44), u16(0x031e), u16(0x2d), u32(0), u32(0), u64(said.count64), u64(said.count64), u64(said.size64), u64(said.offset64))
    put(u32(0x07064b50), u32(0), u64(said.locator), u32(1))
  }
  put(u32(0x06054b50), u16(said.disk), u16(0), u16(said.countHere), u16(said.count), u32(said.size), u32(said.offset), u16(comment.length), Buffer.from(comment))
  if (after) put(after)
  return Buffer.concat(parts)
}
