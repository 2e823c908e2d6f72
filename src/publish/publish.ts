/**
 * Atomic publishing. A directory is written in a hidden folder beside its target and gets the target's name by a rename when
 * everything in it is durable; until then nothing at the target changes. The folder is locked; with a job, a journal in it makes
 * interrupted work resumable. Calls go one way: {@link publish} gives a publication, {@link stage} runs the engine into it,
 * {@link commit} makes it visible; what happens on disk is in Publication.ts and staging/.
 */
import { Cause, Effect, Exit } from "effect"
import { IoError, type JobError, NoSpace, OutputRefused, quote } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { isRemote, schemeOf } from "../remote/place.ts"
import type { RemoteStores } from "../remote/RemoteStores.ts"
import { remotesInUse } from "../remote/storeInUse.ts"
import { awaitSilence } from "./staging/Lock.ts"
import { stagingOf } from "./staging/names.ts"
import { anchorOf } from "./bucket/place.ts"
import { hubStagingDirectory } from "../remote/environment.ts"
import { DiskPublication } from "./DiskPublication.ts"
import type { Publication, PublicationOptions } from "./Publication.ts"

export interface PublishOptions extends PublicationOptions {
  /** Told what an interruption left behind; an error says it itself. */
  readonly onKept?: ((text: string) => void) | undefined
  /** Told why it takes a while before the work begins. */
  readonly onWait?: ((text: string) => void) | undefined
}

/**
 * The bracket around a publication of `target`: `use` stages what it consists of and commits it, once.
 *
 * After a failure or an interruption the target is what it was. Finished parts of a job are kept for `resume` if going on can
 * help (no room, an I/O error, an interruption); everything else is removed.
 *
 * @throws OutputRefused `output/…`, NoSpace, IoError, and what `use` fails with.
 */
export const publish = <A, E extends JobError, R>(
  target: string,
  options: PublishOptions,
  use: (publication: Publication) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | JobError, R | Disk> =>
  Effect.suspend(() => {
    let kept: string | undefined
    return Effect.scoped(Effect.gen(function*() {
      const disk = yield* Disk
      const remotes = yield* remotesInUse
      const open = isRemote(target) ? openElsewhere(disk, remotes, target, options) : async (signal: AbortSignal) => {
        const silent = await DiskPublication.awaitSilence(disk, target, { signal, onWait: options.onWait })
        return () => DiskPublication.open(disk, target, options, silent)
      }
      const opened = yield* attempt(open)
      const publication: Publication = yield* Effect.acquireRelease(
        attempt(opened),
        (held, exit) => Effect.promise(async () => { kept = await held.close(Exit.isFailure(exit) && !canContinue(exit.cause)) })
      )
      yield* Effect.logDebug(`publish: ${isRemote(target) ? "remembered" : "staging"} in ${quote(publication.directory)}${publication.execution.earlier ? ", going on with earlier work" : ""}`)
      const result = yield* use(publication)
      yield* Effect.logDebug(`publish: ${quote(target)} has its new content`)
      return publication.isPublished ? result : yield* Effect.die(new Error("a publication ends with its commit"))
    })).pipe(
      Effect.mapError((error) => (kept === undefined ? error : withHint(error, kept))),
      Effect.onInterrupt(() => Effect.sync(() => { if (kept !== undefined) options.onKept?.(kept) }))
    )
  })

/** A target that is not on this machine; its driver is loaded here. The first half waits for whoever may hold it, and can be interrupted. */
const openElsewhere = (disk: DiskCalls, remotes: () => Promise<RemoteStores>, target: string, options: PublishOptions) => async (signal: AbortSignal): Promise<() => Promise<Publication>> => {
  const { s3, upload } = await remotes()
  const scheme = schemeOf(target)
  if (scheme === "hf") {
    const to = await upload(target, options.hub ?? {}, options.overwrite)
    const anchor = anchorOf(target, hubStagingDirectory())
    const silent = await awaitSilence(disk, stagingOf(anchor), target, { signal, onWait: options.onWait })
    return () => DiskPublication.open(disk, anchor, { ...options, sources: (options.sources ?? []).filter((source) => !isRemote(source)), elsewhere: { shown: target, deliver: (directory, names) => to.deliver(directory, names) } }, silent)
  }
  if (scheme !== "s3") {
    throw new OutputRefused({ path: target, code: "output/read-only", problem: "is a place that is only read", hint: "s3://bucket/prefix, hf://Org/Name and directories are written." })
  }
  const bucket = s3.bucket(target)
  const silent = await awaitSilence(disk, stagingOf(anchorOf(target)), target, { signal, onWait: options.onWait })
  const { BucketPublication } = await import("./bucket/BucketPublication.ts")
  return () => BucketPublication.open(disk, bucket, target, options, silent)
}

/** Can the same command succeed later, from where it ended? */
const canContinue = (cause: Cause.Cause<unknown>): boolean => {
  if (Cause.hasInterruptsOnly(cause)) return true
  const error: unknown = Cause.squash(cause)
  // A source that ends before its time was changed, and so would its job be.
  if (error instanceof IoError) return !(error.errno === "ESHORT" && error.operation === "read")
  return error instanceof NoSpace || error instanceof OutputRefused
}

const withHint = <E extends JobError>(error: E, hint: string): JobError => {
  if (error instanceof IoError) {
    const { detail, errno, operation, path } = error
    return new IoError({ path, operation, errno, ...(detail === undefined ? {} : { detail }), hint })
  }
  if (error instanceof NoSpace) {
    const { free, needed, path } = error
    return new NoSpace({ path, needed, ...(free === undefined ? {} : { free }), hint })
  }
  if (error instanceof OutputRefused) {
    const { code, path, problem } = error
    return new OutputRefused({ path, code, problem, hint: error.hint === undefined ? hint : `${error.hint}\n  ${hint}` })
  }
  return error
}
