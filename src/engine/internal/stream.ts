/** Emit arrays chunk by chunk, for a network or a consumer of one's own. */
import { Stream } from "effect"
import type { Disk } from "../../io/Disk.ts"
import { Pieces } from "./Pieces.ts"
import { arrayLoop } from "./blockLoop.ts"
import { type EngineError, type EngineSession, streamOf } from "./session.ts"
import type { EngineOptions } from "./Settings.ts"
import type { TargetArray } from "./Target.ts"

/** Some bytes of an array. The chunks of an array come in order, its last one is marked; arrays come in order too. What fits a block is one chunk. */
export interface ArrayChunk {
  readonly array: TargetArray
  /** Byte offset in the array. */
  readonly offset: number
  /** Never written to again, unless {@link StreamOptions.lend} says otherwise. Empty for an array without elements. */
  readonly bytes: Uint8Array
  readonly last: boolean
}

export interface StreamOptions extends EngineOptions {
  /**
   * The bytes of a chunk are the engine's own and valid until the next chunk is asked for: saves a copy and the memory of
   * copies that wait to be collected. Nothing that takes chunks ahead (`Stream.buffer`, `runCollect`) may stand between.
   */
  readonly lend?: boolean
}

/**
 * The arrays' bytes in order. Blocks are assembled ahead as far as the memory of the options reaches; after that, the next
 * one is assembled when a chunk has been taken.
 */
export const stream = (
  arrays: Iterable<TargetArray>,
  options: StreamOptions = {}
): Stream.Stream<ArrayChunk, EngineError, Disk> =>
  // Memory that threads share is refused by some consumers: only those who borrow it may ask for threads.
  streamOf({ ...options, threads: options.lend ? options.threads ?? 0 : 0 }, 1, (session) => chunks(session, arrays, options.lend ? (bytes) => bytes : own))

/** Memory that is filled right away need not be cleared first. */
const own = (bytes: Uint8Array): Uint8Array => {
  const copy = new Uint8Array(Buffer.allocUnsafeSlow(bytes.byteLength).buffer)
  copy.set(bytes)
  return copy
}

const chunks = async function*(
  session: EngineSession,
  arrays: Iterable<TargetArray>,
  give: (bytes: Uint8Array) => Uint8Array
): AsyncGenerator<ArrayChunk, void> {
  const items = Iterator.from(arrays).map((array) => ({ pieces: new Pieces(array) }))
  const blocks = arrayLoop(session, items, { take: (block) => block, undivided: true })
  for await (const { at: [block], parts } of blocks) {
    for (const { at, end, last, pieces, start } of parts) {
      yield { array: pieces.array, offset: start, bytes: give(session.context.memory.u8.subarray(block! + at, block! + at + end - start)), last }
    }
  }
}
