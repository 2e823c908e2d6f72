/** Uploads to a bucket that nobody has finished, as Effects. */
import { Effect } from "effect"
import type { ConversionError } from "../errors.ts"
import { converting } from "../io/attempt.ts"
import { Disk } from "../io/Disk.ts"
import { rememberedRuns, unfinishedUploads, type UploadsReport } from "../publish/bucket/uploads.ts"
import { schemeOf } from "../remote/place.ts"
import { remotesInUse } from "../remote/storeInUse.ts"

export type { RememberedRun, UnfinishedUpload, UploadsReport } from "../publish/bucket/uploads.ts"

/**
 * What is unfinished below `place` (`s3://bucket/prefix`), and which of it `--resume` would go on with; without a place, the runs that this
 * machine remembers. `abort` removes it.
 */
export const uploads = (place: string | undefined, { abort = false }: { readonly abort?: boolean } = {}): Effect.Effect<UploadsReport, ConversionError, Disk> =>
  Effect.gen(function*() {
    const disk = yield* Disk
    if (place === undefined) return yield* converting(() => rememberedRuns(disk))
    const remotes = yield* remotesInUse
    return yield* converting(async (signal) => unfinishedUploads(disk, await remotes(), place, abort, signal))
  })

/** May several processes share what is written there? They need a directory that all of them see. */
export { isRemote as isElsewhere } from "../remote/place.ts"
/** What a plan says of it. */
export { sendingNotes } from "../publish/bucket/forecast.ts"

/** A repository of the Hub. */
export const isHub = (place: string): boolean => schemeOf(place) === "hf"
