/** Hash arrays as they would be written, without writing them. */
import { Stream } from "effect"
import { createHash } from "node:crypto"
import type { Disk } from "../../io/Disk.ts"
import { Pieces } from "./Pieces.ts"
import { arrayLoop } from "./blockLoop.ts"
import { type EngineError, type EngineSession, streamOf } from "./session.ts"
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
  session: EngineSession,
  arrays: Iterable<TargetArray>
): AsyncGenerator<ArrayDigest, void> {
  const items = Iterator.from(arrays).map((array) => ({ pieces: new Pieces(array), hash: createHash("sha256") }))
  for await (const { at: [block], parts } of arrayLoop(session, items, { take: (assembled) => assembled })) {
    for (const { at, end, item: { hash, pieces }, last, start } of parts) {
      hash.update(session.context.memory.u8.subarray(block! + at, block! + at + end - start))
      if (last) yield { id: pieces.array.id, sha256: hash.digest("hex") }
    }
  }
}
