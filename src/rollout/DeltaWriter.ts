/**
 * The tensors of two states of one model, piece by piece and in order; what differs goes into shards as one zstd frame a tensor. Memory
 * holds a few pieces, whatever a tensor takes; of `overwrite` also the places that changed.
 */
import { PlanRefused } from "../errors.ts"
import type { Shape } from "../tensor/Copy.ts"
import type { DType } from "../tensor/DType.ts"
import { type Hasher, Hashers, type SummedTensor } from "./checksums.ts"
import type { ShardWriter } from "./ShardWriter.ts"
import { sameBytes, XorRoom } from "./xor.ts"
import { FrameWriter, ONE_CALL, packedAtOnce } from "./zstd.ts"

/** How a delta says what has changed: new ⊕ old of whole tensors, or places and new bytes. */
export const encodings = ["xor", "overwrite"] as const
/** One of the encodings of deltas. */
export type DeltaEncoding = (typeof encodings)[number]

/** A piece of a tensor, in both states. The bytes are the caller's again when the call is over. */
export interface PiecePair {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
  /** Of the whole tensor. */
  readonly size: number
  readonly offset: number
  readonly old: Uint8Array
  readonly now: Uint8Array
  readonly last: boolean
}

/** Positions have four bytes. */
const LARGEST_OVERWRITE = 2 ** 32
/** Places and bytes are kept until the tensor ends: five bytes each. */
const MOST_PLACES = 2 ** 28
const ZEROS = new Uint8Array(1 << 20)

/** Of a tensor that has changed. */
interface Changed {
  /** Undefined where the sum of the old bytes is known. */
  readonly oldHash: Hasher | undefined
  readonly payload: Payload
}

interface Payload {
  readonly add: (pair: PiecePair) => Promise<void>
  readonly end: () => Promise<void>
  readonly destroy: () => void
}

/** The two that are filled by turns, and one for the other side. */
const RUNS = 3
const OTHER = 2

/** Memory for pieces of XOR, for one tensor after the other: what is allocated anew for each has to be cleared, and collected. */
class PieceRoom {
  #room = new XorRoom(ONE_CALL, RUNS)
  #turn = 0

  /** new ⊕ old; valid until two more were made. */
  xor({ now, old }: Pick<PiecePair, "now" | "old">): Uint8Array {
    const n = now.byteLength
    if (n > this.#room.size) this.#room = new XorRoom(n, RUNS)
    this.#turn = 1 - this.#turn
    const into = this.#room.run(this.#turn, n)
    into.set(now)
    this.#room.run(OTHER, n).set(old)
    this.#room.xor(this.#turn, OTHER, n)
    return into
  }
}

/** A tensor of few bytes, which comes in one piece. */
const smallXorPayload = (room: PieceRoom, take: (bytes: Uint8Array) => void): Payload => ({
  add: async (pair) => { take(packedAtOnce(room.xor(pair))) },
  end: async () => {},
  destroy: () => {}
})

/** new ⊕ old over the whole tensor; one piece is compressed while the next is made. */
const xorPayload = async (room: PieceRoom, size: number, equal: number, take: (bytes: Uint8Array) => void): Promise<Payload> => {
  const frame = new FrameWriter(size, take)
  for (let left = equal; left > 0; left -= ZEROS.byteLength) await frame.write(ZEROS.subarray(0, Math.min(left, ZEROS.byteLength)))
  let writing: Promise<void> = Promise.resolve()
  return {
    add: async (pair) => {
      const bytes = room.xor(pair)
      await writing
      writing = frame.write(bytes)
      // Whoever awaits it next hears of its failure.
      writing.catch(() => {})
    },
    end: async () => {
      await writing
      await frame.end()
    },
    destroy: () => { frame.destroy() }
  }
}

/** Number of changed bytes, their places, their new values. */
const overwritePayload = (name: string, take: (bytes: Uint8Array) => void): Payload => {
  const places: Array<Uint32Array> = []
  const values: Array<Uint8Array> = []
  let count = 0
  let frame: FrameWriter | undefined
  return {
    add: async ({ now, offset, old }) => {
      let found = 0
      for (let i = 0; i < now.byteLength; i++) if (now[i] !== old[i]) found++
      if ((count += found) > MOST_PLACES) {
        throw new PlanRefused({ code: "rollout/overwrite-size", problem: `more than ${MOST_PLACES} bytes of ${name} have changed, which the encoding overwrite is not made for`, names: [name], hint: "--encoding xor, or --full." })
      }
      const at = new Uint32Array(found)
      const bytes = new Uint8Array(found)
      for (let i = 0, k = 0; k < found; i++) {
        if (now[i] === old[i]) continue
        at[k] = offset + i
        bytes[k++] = now[i]!
      }
      places.push(at)
      values.push(bytes)
    },
    end: async () => {
      frame = new FrameWriter(4 + count * 5, take)
      await frame.write(new Uint8Array(Uint32Array.of(count).buffer))
      for (const part of places) await frame.write(new Uint8Array(part.buffer))
      for (const part of values) await frame.write(part)
      await frame.end()
    },
    destroy: () => { frame?.destroy() }
  }
}

export interface DeltaOptions {
  readonly shards: ShardWriter
  readonly encoding: DeltaEncoding
  /** Sums of old tensors that are known: these bytes are compared and not summed. */
  readonly oldSums: ReadonlyMap<string, string>
  /** The sum of a new tensor, of which the bytes before the first that differs were not summed. */
  readonly sumAgain: (name: string) => Promise<string>
}

export class DeltaWriter {
  /** Every tensor that has ended, in its old and its new state. */
  readonly old = new Map<string, SummedTensor>()
  readonly now = new Map<string, SummedTensor>()
  /** Those that differ. */
  readonly changed: Array<string> = []
  readonly #hashers = new Hashers()
  readonly #room = new PieceRoom()
  readonly #options: DeltaOptions
  #nowHash: Hasher | undefined
  #changed: Changed | undefined

  constructor(options: DeltaOptions) {
    this.#options = options
  }

  /** The next piece of the tensor, or the first of the next one. */
  async add(pair: PiecePair): Promise<void> {
    const { last, name, now, offset, old } = pair
    const { oldSums, shards } = this.#options
    const isKnown = oldSums.has(name)
    const begins = this.#changed === undefined && !sameBytes(old, now)
    // Of what is known, the new bytes are summed from the start, or not at all.
    if (isKnown ? begins && offset === 0 : offset === 0) this.#nowHash = await this.#hashers.take()
    if (begins) this.#changed = await this.#begin(pair)
    if (this.#changed) {
      this.#changed.oldHash?.update(old)
      await this.#changed.payload.add(pair)
    }
    this.#nowHash?.update(now)
    if (last) await this.#end(name, pair)
    else await shards.room(name)
  }

  async #begin({ name, now, offset, size }: PiecePair): Promise<Changed> {
    const { encoding, oldSums, shards } = this.#options
    // Until here both states are the same, and so is what was summed.
    const oldHash = oldSums.has(name) ? undefined : (await this.#hashers.take()).load(this.#nowHash!.save())
    const take = (bytes: Uint8Array): void => shards.add(bytes)
    if (encoding === "xor" && now.byteLength === size && size <= ONE_CALL) return { oldHash, payload: smallXorPayload(this.#room, take) }
    if (encoding === "xor") return { oldHash, payload: await xorPayload(this.#room, size, offset, take) }
    if (size >= LARGEST_OVERWRITE) {
      throw new PlanRefused({ code: "rollout/overwrite-size", problem: `${name} has ${size} bytes; the encoding overwrite reaches to 4 GiB`, names: [name], hint: "--encoding xor, or --full." })
    }
    return { oldHash, payload: overwritePayload(name, take) }
  }

  async #end(name: string, { dtype, shape }: PiecePair): Promise<void> {
    const { oldSums, shards, sumAgain } = this.#options
    const changed = this.#changed
    this.#changed = undefined
    const summed = this.#nowHash && this.#hashers.finish(this.#nowHash)
    this.#nowHash = undefined
    const known = oldSums.get(name)
    await changed?.payload.end()
    const checksum = summed ?? (changed ? await sumAgain(name) : known!)
    const before = changed?.oldHash ? this.#hashers.finish(changed.oldHash) : known ?? checksum
    this.now.set(name, { dtype, shape, checksum })
    this.old.set(name, { dtype, shape, checksum: before })
    if (!changed) return
    await shards.end(name, checksum)
    this.changed.push(name)
  }

  /** Give up. */
  destroy(): void {
    this.#changed?.payload.destroy()
  }
}
