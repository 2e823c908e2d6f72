/** One tensor of a delta, applied in place: read, changed and written back piece by piece. */
import { FormatError } from "../errors.ts"
import { type DiskFile, writeFully } from "../io/Disk.ts"
import { readFully, type StoredFile } from "../store/Store.ts"
import type { Hashers } from "./checksums.ts"
import type { DeltaEncoding } from "./DeltaWriter.ts"
import { XorRoom } from "./xor.ts"
import { ONE_CALL, unpacked, unpackedAtOnce } from "./zstd.ts"

const INPUT = 1 << 20
const OUTPUT = 1 << 20

export interface ByteRange {
  readonly begin: number
  readonly end: number
}

/** A tensor of a delta, and where it is in the local copy. */
export interface DeltaTensor {
  readonly name: string
  readonly shard: StoredFile
  readonly frame: ByteRange
  readonly encoding: DeltaEncoding
  readonly local: ByteRange
}

const frameOf = async function*({ frame, shard }: DeltaTensor): AsyncGenerator<Uint8Array, void> {
  for (let at = frame.begin; at < frame.end;) {
    const piece = new Uint8Array(Math.min(INPUT, frame.end - at))
    await readFully(shard, piece, at)
    at += piece.byteLength
    yield piece
  }
}

/** Memory of one tensor's work, used again by the next. */
export class ApplyRoom {
  readonly #room = new XorRoom(OUTPUT, 2)

  /** Bytes of the tensor, or all that there is room for. */
  old(length = OUTPUT): Uint8Array {
    return this.#room.run(0, length)
  }

  /** `old ^= delta` */
  xor(delta: Uint8Array): void {
    this.#room.run(1, delta.byteLength).set(delta)
    this.#room.xor(0, 1, delta.byteLength)
  }
}

/** How the new bytes are made, and what becomes of them. `write` false: they are only summed. */
interface Application {
  readonly hashers: Hashers
  readonly room: ApplyRoom
  readonly write: boolean
  readonly progress?: ((bytes: number) => void) | undefined
}

/** What is to be changed, in pieces. A few bytes are undone in one call, unless their frame is far larger than they are. */
const deltaOf = async function*(tensor: DeltaTensor, size: number): AsyncGenerator<Uint8Array, void> {
  const { begin, end } = tensor.frame
  if (size > ONE_CALL || end - begin > 2 * ONE_CALL) return yield* unpacked(frameOf(tensor), { exactly: size })
  const frame = new Uint8Array(end - begin)
  await readFully(tensor.shard, frame, begin)
  yield unpackedAtOnce(frame, size)
}

const xorTensor = async (file: DiskFile, tensor: DeltaTensor, { hashers, progress, room, write }: Application): Promise<string> => {
  const { begin, end } = tensor.local
  const hasher = await hashers.take()
  let at = begin
  for await (const chunk of deltaOf(tensor, end - begin)) {
    for (let done = 0; done < chunk.byteLength;) {
      const n = Math.min(OUTPUT, chunk.byteLength - done)
      const old = room.old(n)
      await readFully(file, old, at)
      room.xor(chunk.subarray(done, done + n))
      hasher.update(old)
      if (write) await writeFully(file, old, at)
      at += n
      done += n
      progress?.(n)
    }
  }
  return hashers.finish(hasher)
}

const COUNT = 4
const PLACE = 4
/** Places are kept in memory; a publisher has the same limit. */
const MOST_PLACES = 2 ** 28

/** All of it at once: five bytes for each that changed. */
const overwriteTensor = async (file: DiskFile, tensor: DeltaTensor, { hashers, progress, room, write }: Application): Promise<string> => {
  const { begin, end } = tensor.local
  const size = end - begin
  const chunks: Array<Uint8Array> = []
  let bytes = 0
  for await (const chunk of unpacked(frameOf(tensor), { most: COUNT + Math.min(size, MOST_PLACES) * (PLACE + 1) })) {
    chunks.push(chunk)
    bytes += chunk.byteLength
  }
  const parts = Buffer.concat(chunks, bytes)
  const count = bytes < COUNT ? -1 : parts.readUInt32LE(0)
  if (bytes !== COUNT + count * (PLACE + 1)) throw new FormatError("rollout/frame", `holds ${bytes} bytes, which are no places and values of bytes`)
  const place = (i: number): number => parts.readUInt32LE(COUNT + i * PLACE)
  const values = COUNT + count * PLACE
  const hasher = await hashers.take()
  let next = 0
  for (let at = 0; at < size;) {
    const n = Math.min(OUTPUT, size - at)
    const piece = room.old(n)
    await readFully(file, piece, begin + at)
    let touched = false
    for (; next < count && place(next) < at + n; next++) {
      if (place(next) < at) throw new FormatError("rollout/frame", "names places of bytes that do not ascend")
      piece[place(next) - at] = parts[values + next]!
      touched = true
    }
    hasher.update(piece)
    if (touched && write) await writeFully(file, piece, begin + at)
    at += n
    progress?.(n)
  }
  if (next < count) throw new FormatError("rollout/frame", "names a place after the end of the tensor")
  return hashers.finish(hasher)
}

/** The sum of the tensor's new bytes; with `write` they are in place. @throws FormatError `rollout/frame`; IoError, NoSpace */
export const applyTensor = (file: DiskFile, tensor: DeltaTensor, how: Application): Promise<string> =>
  (tensor.encoding === "xor" ? xorTensor : overwriteTensor)(file, tensor, how)
