/** A command as one of several processes: those that a launcher started, or this one and children of its own. */
import { Effect, Option } from "effect"
import { dirname, resolve } from "node:path"
import { isSea } from "node:sea"
import { bytesBelow, usualProcesses, withChildren } from "../api/children.ts"
import { SHARED_ENGINE, type Shared } from "../api/shares.ts"
import { attempt, Disk } from "../api/ground.ts"
import { inJob, jobOf } from "../api/job.ts"
import { isElsewhere } from "../api/uploads.ts"
import { type BridgeError, UsageError } from "../errors.ts"
import { engineOptions, type JobFlags, jobRequest } from "./flags/index.ts"
import type { OutputFlags } from "./output.ts"
import { Words } from "./words.ts"

interface SharedFlags extends JobFlags, OutputFlags {
  readonly processes: Option.Option<number>
  readonly threads: Option.Option<number>
  readonly maxMemory: Option.Option<string>
}

export interface SharedWork {
  /** What is read: its size says how many processes are worth it. */
  readonly reads: string
  /** What is written (or, by verify, compared with): processes of several hosts meet beside it. */
  readonly target: string
  /** Nothing is written: one process plans. */
  readonly alone: boolean
  /** The command runs through the engine, unless this is false. */
  readonly engine?: false
}

const MUTED = Symbol("muted")

/** One process speaks for all. */
const muted = <F extends SharedFlags>(input: F): F => ({ ...input, json: false, quiet: true, jsonEvents: false, report: [], card: [], [MUTED]: true })

/** Another process prints the result and sets the exit code that it means. */
export const isMuted = (input: object): boolean => MUTED in input

const SHARED_MEMORY = `${SHARED_ENGINE.maxMemory >> 20}MiB`

/** How several processes of one machine run, where nothing is said: {@link SHARED_ENGINE}. */
const lean = <F extends SharedFlags>(input: F): F => ({
  ...input,
  threads: Option.orElseSome(input.threads, () => SHARED_ENGINE.threads),
  maxMemory: Option.orElseSome(input.maxMemory, () => SHARED_MEMORY)
})

const leanWords = ({ maxMemory, threads }: SharedFlags): ReadonlyArray<string> => [
  ...(Option.isNone(threads) ? ["--threads", String(SHARED_ENGINE.threads)] : []),
  ...(Option.isNone(maxMemory) ? ["--max-memory", SHARED_MEMORY] : [])
]

/** The words of a command without a number of processes, which is not for its children to choose. */
const withoutProcesses = (words: ReadonlyArray<string>): ReadonlyArray<string> =>
  words.filter((word, i) => word !== "--processes" && words[i - 1] !== "--processes" && !word.startsWith("--processes="))

/** For a plan: who would write what, where several processes are asked for, or are here. */
export const plannedShares = (input: SharedFlags & Parameters<typeof engineOptions>[0]): Effect.Effect<Shared, BridgeError> =>
  Effect.flatMap(jobOf(jobRequest(input)), ({ launch: { worldSize } }) => attempt((): Shared => {
    if (worldSize > 1) return { processes: worldSize, engine: engineOptions(input) }
    return Option.isNone(input.processes) ? {} : { processes: input.processes.value, engine: engineOptions(lean(input)) }
  }))

/** Run a command's body, in every process of its job. Processes that share a machine's cores do not also share them with threads. */
export const asJob = <F extends SharedFlags, A, R>(
  command: string,
  input: F,
  { alone, engine, reads, target }: SharedWork,
  body: (input: F) => Effect.Effect<A, BridgeError, R>
): Effect.Effect<A, BridgeError, R | Disk> =>
  Effect.gen(function*() {
    const job = yield* jobOf(jobRequest(input))
    const asked = Option.getOrUndefined(input.processes)
    if (asked !== undefined && (asked < 1 || asked > 256)) return yield* new UsageError({ problem: `--processes ${asked}: a number from 1 to 256 is needed` })
    if (job.launch.worldSize > 1) {
      if (asked !== undefined && asked > 1) {
        return yield* new UsageError({
          problem: `--processes ${asked} in a job of ${job.launch.worldSize} processes`,
          hint: "The launcher starts the processes: have it start more of them on each host."
        })
      }
      return yield* inJob(job, { beside: dirname(resolve(target)), plan: command }, body(job.launch.rank === 0 ? input : muted(input)))
    }
    const all = yield* Words
    const disk = yield* Disk
    // Threads were asked for, or this is not the program itself.
    const size = alone || all.length === 0 ? 1 : asked ?? (isElsewhere(target) ? 1 : undefined) ?? (Option.isSome(input.threads) ? 1 : usualProcesses(yield* attempt(() => bytesBelow(disk, reads))))
    if (size === 1) return yield* body(input)
    const program = isSea() ? [process.execPath] as const : [process.execPath, ...process.execArgv, process.argv[1]!] as const
    const [own, words] = engine === false ? [input, []] : [lean(input), leanWords(input)]
    const together = withChildren({ size, command: [...program, ...withoutProcesses(all), ...words] }, command, body(own))
    if (asked !== undefined) return yield* together
    // Nobody asked for several: where they cannot meet, which shows before anything is done, one does it.
    return yield* together.pipe(Effect.catchIf((error) => error.code === "cluster/listen", () => body(input)))
  })
