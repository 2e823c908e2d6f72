/** The second half of publishing: when all shares are staged, one caller makes the whole visible. */
import { storeInUse } from "../remote/storeInUse.ts"
import { Effect } from "effect"
import type { JobError } from "../errors.ts"
import { attempt, uninterruptibly } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { firstDifferent } from "./integrity/sourceContent.ts"
import type { Publication } from "./Publication.ts"
import { changedSource, refuseChanged, refuseChangedSmall, type SmallSource } from "./sources.ts"

export interface Closing {
  /** Small files that were read: they must be as they were. */
  readonly small?: ReadonlyArray<SmallSource>
  /** Files that make the target's folder valid: written last, above the folder. */
  readonly trackers?: ReadonlyArray<readonly [name: string, bytes: Uint8Array]>
}

/** Check the sources, write checksums and trackers, and give the target its new content. OutputRefused, IoError; InvalidFile `source/changed`. */
export const commit = (publication: Publication, { small = [], trackers = [] }: Closing = {}): Effect.Effect<void, JobError, Disk> =>
  Effect.gen(function*() {
    const { content, recorder, shares, staged } = publication
    yield* requireSameSources(publication, small)
    yield* Effect.logDebug(`publish: the sources are as they were; ${content === undefined ? "" : "checksums, "}trackers and the rename follow`)
    yield* uninterruptibly(async () => {
      for (const [name, bytes] of trackers) recorder.beside(name, bytes)
      if (content !== undefined) await recorder.finish(shares.flatMap((share) => share.files), content)
      for (const [name, bytes] of trackers) await staged.write(name, bytes)
      await publication.sink.commit()
    })
  })

/** The sources must still be what was read, to the byte. */
const requireSameSources = Effect.fnUntraced(function*({ execution, recorder, shares }: Publication, small: ReadonlyArray<SmallSource>) {
  const store = yield* storeInUse
  yield* attempt(() => refuseChangedSmall(store, small))
  for (const { files, states } of shares) {
    const [touched] = yield* attempt(() => refuseChanged(store, states))
    if (touched === undefined) continue
    const written = recorder.written(files)
    if ((yield* firstDifferent(written.files, written.sums, execution)) !== undefined) return yield* changedSource(touched)
  }
})
