/** Hash arrays as they would be written, without writing them. */
import { Stream } from "effect"
import { createHash, type Hash } from "node:crypto"
import type { Disk } from "../../io/Disk.ts"
import { arrayBlocks } from "./ArrayBlocks.ts"
import { fill } from "./Fill.ts"
import { slotAt, slotBytes } from "./Slot.ts"
import { Pieces } from "./Pieces.ts"
import { pipeline } from "./pipeline.ts"
import { ahead, type EngineError, type Session, streamOf } from "./session.ts"
import type { EngineOptions } from "./Settings.ts"
import type { TargetArray } from "./Target.ts"

export interface ArrayDigest {
  readonly id: string
  /** Hexadecimal. */
  readonly sha256: string
}

/** The digests of the arrays' bytes, in order. */
export const digest = (
  arrays: Iterable<TargetArray>,
  options: EngineOptions = {}
): Stream.Stream<ArrayDigest, EngineError, Disk> => streamOf(options, 1, (session) => digests(session, arrays))

const digests = async function*(
  session: Session,
  arrays: Iterable<TargetArray>
): AsyncGenerator<ArrayDigest, void> {
  const { arena, context, settings: { gap, sizes }, signal } = session
  const items = Iterator.from(arrays).map((array) => ({ pieces: new Pieces(array), hash: createHash("sha256") }))
  const blocks = pipeline({
    items: arrayBlocks<{ pieces: Pieces; hash: Hash }>(items, sizes, gap),
    arena,
    room: ({ size }) => slotBytes(sizes, size),
    ahead: ahead(session),
    keep: true,
    signal,
    work: async ({ parts, size }, { start }) => {
      const slot = slotAt(start, sizes, size)
      await fill(context, parts, slot.block, slot)
      return { parts, block: slot.block }
    }
  })
  for await (const { block, parts } of blocks) {
    for (const { at, end, item: { hash, pieces }, last, start } of parts) {
      hash.update(context.memory.u8.subarray(block + at, block + at + end - start))
      if (last) yield { id: pieces.array.id, sha256: hash.digest("hex") }
    }
  }
}
