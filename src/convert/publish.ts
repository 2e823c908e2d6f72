/**
 * Atomic publishing. A directory comes to be in a hidden folder beside its target (io/staging) and gets the target's name by a
 * rename when everything in it is durable; until then nothing at the target changes. The folder is locked; with a job, a
 * journal in it makes interrupted work resumable.
 */
import { Effect, Exit, Cause } from "effect"
import { dirname, join } from "node:path"
import type { ExecuteOptions } from "../engine/execute.ts"
import { type EngineOptions } from "../engine/Settings.ts"
import { type BridgeError, InvalidFile, IoError, NoSpace, OutputRefused, PlanRefused, quote, Unsupported } from "../errors.ts"
import { attempt } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { present } from "../io/present.ts"
import { discard, sweep } from "../io/staging/discard.ts"
import { acquireLock, type Lock } from "../io/staging/Lock.ts"
import { COMMIT, DATA, JOURNAL, REPLACED, stagingOf } from "../io/staging/names.ts"
import { isReplaced, publishData, recover } from "../io/staging/swap.ts"
import { checkTarget, findTarget, makeParents, type Permission, removeParents, type Target } from "../io/staging/target.ts"
import { isPrecious } from "./precious.ts"
import { changesBetween, type Job } from "./journal/Job.ts"
import { type EarlierWork, Journal, readJournal } from "./journal/Journal.ts"
import { engineFor } from "./journal/engineFor.ts"
import { SpaceWatch } from "./journal/SpaceWatch.ts"

export interface PublishOptions {
  /** Replace an existing target, at the moment of the commit. */
  readonly overwrite: boolean
  /** Go on with what an interrupted run of the same job left. */
  readonly resume?: boolean | undefined
  /** Bytes that will be written. */
  readonly size: number
  /** Directories that are read: the target must not be or contain one. */
  readonly sources?: ReadonlyArray<string>
  /** Iterations of a Megatron checkpoint that this work writes anew; `--overwrite` replaces no others. */
  readonly iteration?: string
  /** Makes the work resumable. */
  readonly job?: {
    readonly identity: Job
    /** Where in the directory its files are, relative. */
    readonly folder: string
    readonly engine: EngineOptions
  }
  /** Told what an interruption left behind; an error says it itself. */
  readonly onKept?: ((text: string) => void) | undefined
}

/** What the work is done in and with. */
export interface Work {
  /** The directory to fill. */
  readonly directory: string
  /** For the execution of the job's files. */
  readonly execution: Pick<ExecuteOptions, "earlier" | "onWindow"> & EngineOptions
  /** For the report. */
  readonly notes: ReadonlyArray<string>
}

/** Room for directories, metadata and rounding to blocks, on top of the payload. */
const SPARE_BYTES = 16 << 20

/**
 * Write a directory and publish it as `target`. `write` fills the directory it is given and makes its files durable.
 *
 * After a failure or an interruption the target is what it was. Finished parts of a job are kept for `resume` if going on can
 * help (no room, an I/O error, an interruption), else the staging folder is removed.
 *
 * @throws OutputRefused `output/…`, NoSpace, IoError, and what `write` fails with.
 */
export const publish = <A, E extends BridgeError, R>(
  target: string,
  options: PublishOptions,
  write: (work: Work) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | BridgeError, R | Disk> =>
  Effect.suspend(() => {
    const kept: { text?: string } = {}
    return Effect.scoped(Effect.gen(function*() {
      const disk = yield* Disk
      const staging = yield* Effect.acquireRelease(
        attempt(() => Staging.open(disk, target, options)),
        (held, exit) => Effect.promise(async () => {
          const text = await held.close(exit)
          if (text === undefined) return
          kept.text = text
          if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) options.onKept?.(text)
        })
      )
      const result = yield* write(staging.work)
      yield* Effect.uninterruptible(attempt(() => staging.commit()))
      return result
    })).pipe(Effect.mapError((error) => kept.text === undefined ? error : withHint(error, kept.text)))
  })

const withHint = <E extends BridgeError>(error: E, hint: string): E | IoError | NoSpace | OutputRefused => {
  if (error instanceof IoError) return new IoError({ ...fieldsOf(error), hint })
  if (error instanceof NoSpace) return new NoSpace({ ...fieldsOf(error), hint })
  if (error instanceof OutputRefused) return new OutputRefused({ ...fieldsOf(error), hint: error.hint ? `${error.hint}\n  ${hint}` : hint })
  return error
}

const fieldsOf = <T extends object>(error: T): T => ({ ...error })

/** Can the same command succeed later, from where it ended? */
const isResumable = (exit: Exit.Exit<unknown, unknown>): boolean => {
  if (Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause)) return true
  const error = Cause.squash(exit.cause)
  // A source that ends early was changed.
  if (error instanceof IoError) return !(error.errno === "ESHORT" && error.operation === "read")
  return !(error instanceof InvalidFile || error instanceof Unsupported || error instanceof PlanRefused) && error instanceof Error && "exitCode" in error
}
