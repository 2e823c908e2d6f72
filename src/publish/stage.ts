/** The first half of publishing: what one writer produces comes into the staging folder, durable and recorded. */
import { Effect } from "effect"
import { execute, settingsOf } from "../engine/index.ts"
import type { JobError } from "../errors.ts"
import type { Disk } from "../io/Disk.ts"
import type { Publication } from "./Publication.ts"
import type { Share } from "./Share.ts"
import { lostSource } from "./sources.ts"

/**
 * Write the files of a share. Several writers may stage theirs, one after the other or at once, before one commits; no two have a file
 * of the same name.
 *
 * @returns elements that changed value, per array in which some did.
 */
export const stage = (
  publication: Publication,
  share: Share,
  progress: (bytes: number) => void = () => {}
): Effect.Effect<ReadonlyMap<string, number>, JobError, Disk> =>
  Effect.suspend(() => {
    publication.shares.push(share)
    const changed = new Map<string, number>()
    const { concurrency, io, memory, sizes, threads } = settingsOf(publication.execution)
    return Effect.logDebug(`engine: ${concurrency} blocks of ${sizes.block} bytes at once, ${threads} threads, ${memory} bytes of buffers, io ${io}`).pipe(Effect.andThen(execute(share.files, publication.directory, {
      ...publication.execution,
      sink: publication.sink,
      onArray: (id, done) => { if (done.changed > 0) changed.set(id, (changed.get(id) ?? 0) + done.changed) },
      progress
    })),
      Effect.tap(({ bytesRead, bytesWritten, files }) => Effect.logDebug(`engine: ${files.length} files, ${bytesRead} bytes read, ${bytesWritten} written`)),
      Effect.as(changed),
      Effect.mapError((error) => lostSource(error, share.states) ?? error)
    )
  })
