/** The staging folder of a conversion as several processes see it, which may be on several hosts. */
import { Effect } from "effect"
import { join } from "node:path"
import type { WorldCalls } from "../cluster/World.ts"
import { LaunchError, quote } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { awaitingNames } from "../io/shared.ts"
import { writeSmall } from "../io/small.ts"
import { isMissing } from "../store/present.ts"
import { journalOf } from "../publish/staging/names.ts"

/** The disk, where names in the folder may come late. */
export const diskOf = (world: WorldCalls, folder: string): Effect.Effect<DiskCalls, never, Disk> =>
  Effect.gen(function*() {
    let isOver = false
    yield* Effect.forkChild(Effect.catch(world.failed, () => Effect.sync(() => { isOver = true })))
    return awaitingNames(yield* Disk, folder, () => isOver)
  })

/** The first process leaves an empty journal of this run: who finds it sees the same folder. */
const markOf = (folder: string, run: string): string => join(folder, journalOf(run, 0))

export const markFolder = async (disk: DiskCalls, folder: string, run: string): Promise<void> => {
  await writeSmall(disk, markOf(folder, run), new Uint8Array(0))
}

/** LaunchError `launch/not-shared` where what rank 0 has made is not there: another file system has that path here. */
export const requireFolder = (disk: DiskCalls, folder: string, run: string) =>
  attempt(() => disk.lstat(markOf(folder, run))).pipe(
    Effect.asVoid,
    Effect.mapError((error) => !isMissing(error) ? error : new LaunchError({
      code: "launch/not-shared",
      problem: `what rank 0 has put into ${quote(folder)} is not to be seen on this host`,
      hint: "The target must be on a file system that all hosts of the job share, under the same path."
    }))
  )
