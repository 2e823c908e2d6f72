/**
 * A large object while it is produced: windows come in any order, a part is sent when all of it is there. What is on its way, in all files
 * together, is bounded; who writes waits for room. Nothing of it is to be seen before the upload is completed.
 */
import { crc32 } from "node:zlib"
import { IoError } from "../../errors.ts"
import type { FileInfo } from "../../io/Disk.ts"
import type { SinkFile } from "../../store/Sink.ts"
import type { S3Bucket, UploadedPart } from "./S3Bucket.ts"

/** S3 takes 5 MiB to 5 GiB; one connection gives some 80 MB/s whatever the size, and memory is parts on their way. */
const SMALLEST_PART = 8 << 20
/** S3 takes 10 000; some are left. */
const MOST_PARTS = 9500
const MIB = 1 << 20
/** Bytes of parts on their way; at least one is. */
const ON_THE_WAY = 96 << 20

/** Bytes of every part but the last. */
export const partSize = (size: number): number => Math.max(SMALLEST_PART, Math.ceil(size / MOST_PARTS / MIB) * MIB)

/** Room for parts on their way, and memory that goes from one to the next. */
export class PartRoom {
  #taken = 0
  readonly #waiting: Array<() => void> = []
  readonly #free: Array<Buffer> = []

  async take(bytes: number): Promise<void> {
    while (this.#taken > 0 && this.#taken + bytes > ON_THE_WAY) await new Promise<void>((resolve) => { this.#waiting.push(resolve) })
    this.#taken += bytes
  }

  give(bytes: number): void {
    this.#taken -= bytes
    for (const wake of this.#waiting.splice(0)) wake()
  }

  buffer(bytes: number): Buffer {
    const at = this.#free.findIndex((b) => b.byteLength === bytes)
    return at < 0 ? Buffer.allocUnsafeSlow(bytes) : this.#free.splice(at, 1)[0]!
  }

  giveBack(buffer: Buffer): void {
    if (this.#free.length < 4) this.#free.push(buffer)
  }
}

/** What is known of a file's upload, from this run or the one before it. */
export interface UploadState {
  readonly name: string
  readonly size: number
  readonly partSize: number
  /** Begun with the first part that is sent. */
  id: string | undefined
  readonly parts: Map<number, UploadedPart>
  /** It is an object already: its tag. */
  done: string | undefined
}

export interface UploadEvents {
  /** Must be durable before anything is sent. */
  readonly begun: (state: UploadState) => Promise<void>
  readonly sent: (state: UploadState, part: UploadedPart) => void
}

interface Filling {
  readonly bytes: Buffer
  filled: number
}

export class S3Upload implements SinkFile<FileInfo> {
  readonly #bucket: S3Bucket
  readonly #run: string
  readonly #state: UploadState
  readonly #room: PartRoom
  readonly #events: UploadEvents
  readonly #filling = new Map<number, Filling>()
  readonly #sending = new Set<Promise<void>>()
  #id: Promise<string> | undefined
  #whole = 0
  #failure: unknown

  constructor(bucket: S3Bucket, run: string, state: UploadState, room: PartRoom, events: UploadEvents) {
    this.#bucket = bucket
    this.#run = run
    this.#state = state
    this.#room = room
    this.#events = events
  }

  async write(room: Uint8Array, size: number, position: number): Promise<boolean> {
    const { partSize: part, size: all } = this.#state
    // The last window is written in whole pages.
    const end = Math.min(position + size, all)
    for (let at = position; at < end;) {
      const index = Math.floor(at / part)
      const start = index * part
      const length = Math.min(part, all - start)
      const filling = this.#filling.get(index) ?? { bytes: this.#room.buffer(length), filled: 0 }
      this.#filling.set(index, filling)
      const stop = Math.min(end, start + length)
      filling.bytes.set(room.subarray(at - position, stop - position), at - start)
      filling.filled += stop - at
      at = stop
      if (filling.filled < length) continue
      this.#filling.delete(index)
      this.#whole += length
      await this.#give(index + 1, filling.bytes)
    }
    if (this.#failure !== undefined) throw this.#failure
    return false
  }

  /** Hand a part on, as soon as there is room for it. */
  async #give(number: number, bytes: Buffer): Promise<void> {
    await this.#room.take(bytes.byteLength)
    const sending = this.#send(number, bytes)
      .catch((error: unknown) => { this.#failure ??= error })
      .finally(() => {
        this.#sending.delete(sending)
        this.#room.giveBack(bytes)
        this.#room.give(bytes.byteLength)
      })
    this.#sending.add(sending)
  }

  async #send(number: number, bytes: Buffer): Promise<void> {
    if (this.#failure !== undefined) return
    const state = this.#state
    const crc = crc32(bytes)
    const known = state.parts.get(number)
    if (known?.crc32 === crc && known.size === bytes.byteLength) return
    if (state.done !== undefined) {
      throw new IoError({ path: this.#bucket.pathOf(state.name), operation: "write", errno: "ESTALE", detail: "what the interrupted run has uploaded is not what the sources give now", hint: "Without --resume the work starts over." })
    }
    const id = await (this.#id ??= this.#begun())
    const etag = await this.#bucket.send(state.name, id, number, bytes, crc)
    const part = { number, size: bytes.byteLength, etag, crc32: crc }
    state.parts.set(number, part)
    this.#events.sent(state, part)
  }

  async #begun(): Promise<string> {
    const state = this.#state
    if (state.id === undefined) {
      state.id = await this.#bucket.begin(state.name, this.#run)
      await this.#events.begun(state)
    }
    return state.id
  }

  /** A part is durable when it is answered. */
  async sync(): Promise<void> {}

  /** Files of several writers are on a disk that they share. */
  writeAround(): Promise<void> {
    return Promise.reject(new Error("an object has one writer"))
  }

  async finish(): Promise<undefined> {
    await this.#settled()
    if (this.#failure !== undefined) throw this.#failure
    if (this.#whole !== this.#state.size) throw new Error(`${this.#state.name}: ${this.#whole} of ${this.#state.size} bytes were written`)
    return undefined
  }

  async abandon(): Promise<void> {
    this.#failure ??= new Error("given up")
    await this.#settled()
  }

  async #settled(): Promise<void> {
    while (this.#sending.size > 0) await Promise.all(this.#sending)
  }
}
