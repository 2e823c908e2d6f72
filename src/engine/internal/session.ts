/** A run of the engine: what it holds while it lasts, and that it is given back. */
import { Effect, Stream } from "effect"
import { IoError, NoSpace, OutputRefused, Unsupported } from "../../errors.ts"
import { values } from "../../io/attempt.ts"
import { Disk, type DiskCalls, type DiskError } from "../../io/Disk.ts"
import { storeInUse } from "../../remote/storeInUse.ts"
import type { Store } from "../../store/Store.ts"
import { Arena } from "./Arena.ts"
import type { FillContext } from "./Fill.ts"
import type { IoRecord, IoWays } from "./IoWays.ts"
import { ioRecord } from "./rememberedIo.ts"
import { Workers } from "./Workers.ts"
import { type EngineOptions, type Settings, settingsOf } from "./Settings.ts"
import { SourceFiles } from "./SourceFiles.ts"

/** What a run, or what it calls back, can fail with; anything else it throws is a defect of the plan it was given. */
export type EngineError = DiskError | OutputRefused | Unsupported

/** Everything a run holds while it lasts. */
export interface EngineSession {
  readonly disk: DiskCalls
  /** What was written before, read again. */
  readonly written: SourceFiles
  readonly settings: Settings
  readonly ways: IoWays
  readonly arena: Arena
  readonly context: FillContext
  readonly signal: AbortSignal
}

const ENGINE_ERRORS = [IoError, NoSpace, OutputRefused, Unsupported] as const

/**
 * The results of a generator as a stream, with one session for its life. Ending it in whatever way, by interruption too,
 * lets the calls under way finish and closes every file before it returns. `blocks` as in {@link settingsOf}.
 */
export const streamOf = <A>(
  options: EngineOptions,
  blocks: number,
  results: (session: EngineSession) => AsyncGenerator<A, void>
): Stream.Stream<A, EngineError, Disk> =>
  Stream.unwrap(Effect.gen(function*() {
    const disk = yield* Disk
    const store = yield* storeInUse
    const record = yield* ioRecord
    const { generator } = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const abort = new AbortController()
        return { abort, generator: withSession({ disk, store, record, signal: abort.signal }, options, blocks, results) }
      }),
      ({ abort, generator }) =>
        Effect.promise(async () => {
          abort.abort(new Error("interrupted"))
          await generator.return().catch(() => {})
        })
    )
    // The release above ends the generator, and waits for it.
    return values(() => generator.next(), ENGINE_ERRORS)
  }))

interface Surroundings {
  readonly disk: DiskCalls
  readonly store: Store
  readonly record: IoRecord
  readonly signal: AbortSignal
}

const withSession = async function*<A>(
  { disk, record, signal, store }: Surroundings,
  options: EngineOptions,
  blocks: number,
  results: (session: EngineSession) => AsyncGenerator<A, void>
): AsyncGenerator<A, void> {
  const settings = settingsOf(options, blocks)
  const arena = new Arena(settings.memory, settings.threads * Workers.room)
  const workers = new Workers(arena, settings.threads, settings.sharing)
  const ways = record.ways(settings.io, settings.concurrency)
  const files = new SourceFiles(store, ways)
  const written = new SourceFiles(disk, ways)
  try {
    yield* results({ disk, written, settings, ways, arena, signal, context: { memory: arena.memory, files, workers, gap: settings.gap, far: settings.far } })
  } finally {
    await workers.close()
    await files.close()
    await written.close()
    arena.close()
  }
}
