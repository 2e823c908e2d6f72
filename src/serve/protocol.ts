/**
 * The words of a weight stream, version 1. Text messages are JSON; a binary message is a frame: a piece of one tensor.
 *
 * ```
 * consumer                              server
 *   open {select, credit, resume?} ──────►
 *        ◄────────────────────────────── manifest {identity, tensors, bytes}
 *        ◄────────────────────────────── frame, frame, … (no more bytes than there is credit)
 *   credit {bytes} ──────────────────────►
 *        ◄────────────────────────────── end {tensors, bytes}; close 1000
 * ```
 *
 * A frame: u32 LE, length H of the header; H bytes of JSON, padded with blanks so that what follows begins at a multiple of 8; the
 * piece's bytes, little-endian, C order. Tensors come whole, one after the other, in the order of the model; the pieces of one in order.
 */
import { crc32 } from "node:zlib"
import { z } from "zod"
import { parseJson } from "../document/StrictJson.ts"
import { type DType, isDType } from "../tensor/DType.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { Slice } from "./slices.ts"

export const STREAM_PROTOCOL = 1

/** Bytes of a binary message. */
export const LARGEST_FRAME = 1 << 20
/** Bytes of a text message, either way. */
export const LARGEST_WORD = 64 << 10
/** Bytes of a name in a frame's header; safetensors allows longer ones, no model has them. */
export const LONGEST_NAME = 4096
const LARGEST_HEADER = 16 << 10
const ALIGNMENT = 8
/** Bytes of weights in a frame, at most. */
export const LARGEST_PIECE = LARGEST_FRAME - LARGEST_HEADER

/** Close codes of the server: what became of a stream that did not end well. 4000 to 4999 are for applications (RFC 6455). */
export const Close = {
  /** All was sent. */
  done: 1000,
  /** The server ends. */
  leaving: 1001,
  /** What the consumer said is not of this protocol. */
  malformed: 4400,
  /** What the consumer asked for cannot be given; the error before says why. */
  refused: 4404,
  /** The consumer said nothing, or took nothing, for too long. */
  silent: 4408,
  /** The weights are not those that the stream began with. */
  changed: 4409,
  /** More messages than a stream needs. */
  flood: 4429,
  /** Reading the weights failed. */
  failed: 4500,
  /** The number of consumers has reached its limit. */
  full: 4503
} as const

/** What is streamed: of these components, these tensors (`*` stands for anything), this rank's part of each. */
export interface Selection {
  readonly components?: ReadonlyArray<string> | undefined
  readonly tensors?: ReadonlyArray<string> | undefined
  readonly shard?: { readonly tp: number; readonly rank: number } | undefined
}

const count = z.int().min(0).max(Number.MAX_SAFE_INTEGER)
const name = z.string().min(1).max(LONGEST_NAME)

const openSchema = z.strictObject({
  type: z.literal("open"),
  protocol: z.literal(STREAM_PROTOCOL),
  components: z.array(z.string().min(1).max(256)).min(1).max(64).optional(),
  tensors: z.array(z.string().min(1).max(512)).min(1).max(64).optional(),
  shard: z.strictObject({ tp: z.int().min(1).max(4096), rank: z.int().min(0).max(4095) }).refine(({ rank, tp }) => rank < tp, "a rank is less than tp").optional(),
  credit: z.int().min(LARGEST_FRAME).max(2 ** 31),
  resume: z.strictObject({ identity: z.string().max(128), tensor: name, offset: count }).optional()
})
const creditSchema = z.strictObject({ type: z.literal("credit"), bytes: z.int().min(1).max(2 ** 31) })
const consumerSchema = z.discriminatedUnion("type", [openSchema, creditSchema])

const manifestSchema = z.object({ type: z.literal("manifest"), protocol: z.literal(STREAM_PROTOCOL), identity: z.string().max(128), tensors: count, bytes: count })
const endSchema = z.object({ type: z.literal("end"), tensors: count, bytes: count })
const errorSchema = z.object({ type: z.literal("error"), code: z.string().max(64), message: z.string().max(8192) })
const serverSchema = z.discriminatedUnion("type", [manifestSchema, endSchema, errorSchema])

export type ConsumerWord = z.infer<typeof consumerSchema>
export type OpenWord = z.infer<typeof openSchema>
export type ServerWord = z.infer<typeof serverSchema>
export type Manifest = z.infer<typeof manifestSchema>

const read = <T>(schema: z.ZodType<T>, text: Uint8Array): T | string => {
  try {
    const found = schema.safeParse(parseJson(text, { maxBytes: LARGEST_WORD }))
    return found.success ? found.data : z.prettifyError(found.error).slice(0, 500)
  } catch (error) {
    return (error as Error).message
  }
}

/** A string: what is wrong with it. */
export const readConsumerWord = (text: Uint8Array): ConsumerWord | string => read(consumerSchema, text)
/** A string: what is wrong with it. */
export const readServerWord = (text: Uint8Array): ServerWord | string => read(serverSchema, text)

export const write = (word: ConsumerWord | ServerWord): string => JSON.stringify(word)

/** A tensor as it is announced with each of its pieces. */
export interface StreamedTensor {
  readonly name: string
  readonly dtype: DType
  /** Of what is streamed: of the slice, where it is one. */
  readonly shape: Shape
  readonly component?: string | undefined
  /** Of the tensor whose slice this is. */
  readonly whole?: { readonly shape: Shape } & Slice | undefined
}

export interface FrameHeader extends StreamedTensor {
  /** Bytes of the tensor before this piece. */
  readonly offset: number
  /** The tensor ends with this piece. */
  readonly last: boolean
  /** CRC-32 (zlib's) of the piece. */
  readonly crc32: number
}

const shape = z.array(count).max(16)
const headerSchema = z.object({
  name,
  dtype: z.string().refine(isDType),
  shape,
  component: z.string().max(256).optional(),
  whole: z.object({ shape, axis: z.int().min(0).max(15), ranges: z.array(z.tuple([count, count])).max(65_536) }).optional(),
  offset: count,
  last: z.boolean(),
  crc32: z.int().min(0).max(0xffff_ffff)
})

/** A frame of its own memory. Throws RangeError for a header that is too large. */
export const encodeFrame = (tensor: StreamedTensor, offset: number, last: boolean, piece: Uint8Array): Buffer => {
  const header: FrameHeader = { ...tensor, offset, last, crc32: crc32(piece) }
  const text = Buffer.from(JSON.stringify(header))
  const begin = Math.ceil((4 + text.byteLength) / ALIGNMENT) * ALIGNMENT
  if (begin > LARGEST_HEADER) throw new RangeError(`${tensor.name}: its description takes more than ${LARGEST_HEADER} bytes`)
  const frame = Buffer.allocUnsafeSlow(begin + piece.byteLength)
  frame.writeUInt32LE(begin - 4, 0)
  text.copy(frame, 4)
  frame.fill(0x20, 4 + text.byteLength, begin)
  frame.set(piece, begin)
  return frame
}

/** A string: what is wrong with it. The bytes are a view of the frame. */
export const decodeFrame = (frame: Buffer): { readonly header: FrameHeader; readonly bytes: Uint8Array } | string => {
  if (frame.byteLength < 4) return "a frame ends before its header"
  const length = frame.readUInt32LE(0)
  if (length > LARGEST_HEADER || 4 + length > frame.byteLength) return "a frame's header is longer than the frame"
  const header = read(headerSchema, frame.subarray(4, 4 + length))
  if (typeof header === "string") return `a frame's header: ${header}`
  const bytes = frame.subarray(4 + length)
  if (crc32(bytes) !== header.crc32) return `${header.name}: bytes from ${header.offset} on arrived changed (CRC-32)`
  return { header: header as FrameHeader, bytes }
}
