/** How a command runs: its processes, threads and memory. */
import { Option } from "effect"
import { Flag } from "effect/cli"
import { ENGINE_BOUNDS, ENGINE_DEFAULTS, type EngineLimits } from "../../api/engine.ts"
import type { JobRequest } from "../../api/job.ts"
import { UsageError } from "../../errors.ts"
import type { Values } from "./Values.ts"
import { within } from "./within.ts"

/** This process as one of several; launchers say the same by their variables. */
export const job = {
  rank: Flag.Int("rank").pipe(Flag.withMetavar("N"), Flag.withDescription("Which process of a job this is, from 0. Default: what torchrun, Slurm, MPI or Kubernetes says"), Flag.optional),
  worldSize: Flag.Int("world-size").pipe(Flag.withMetavar("N"), Flag.withDescription("How many processes the job has. Default: what the launcher says, else 1"), Flag.optional),
  rendezvous: Flag.String("rendezvous").pipe(
    Flag.withMetavar("WHERE"),
    Flag.withDescription("Where the processes meet: directory[:PATH] (the default, beside the checkpoint), HOST:PORT, either with tls+ before it, or file[:PATH] where none may listen"),
    Flag.optional
  )
}

/** {@link job}, and how many processes there are on this machine. */
export const shared = {
  processes: Flag.Int("processes").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Processes on this machine that share the work. Default: by size and cores; 1 for less than 2 GB"),
    Flag.optional
  ),
  ...job
}

/** Of a plan, which nobody shares. */
export const plannedProcesses = Flag.Int("processes").pipe(
  Flag.withMetavar("N"),
  Flag.withDescription("Say what each of so many processes would write, and how much memory they would take; with as many as the layout has ranks, each stands for one"),
  Flag.optional
)

export type JobFlags = Values<typeof job>

/** What {@link job} says. */
export const jobRequest = (input: JobFlags): JobRequest =>
  ({ rank: Option.getOrUndefined(input.rank), worldSize: Option.getOrUndefined(input.worldSize), rendezvous: Option.getOrUndefined(input.rendezvous) })

/** How the engine runs. */
export const engine = {
  concurrency: Flag.Int("concurrency").pipe(Flag.withMetavar("N"), Flag.withDescription(`Blocks in flight. Default ${ENGINE_DEFAULTS.concurrency}`), Flag.optional),
  maxMemory: Flag.String("max-memory").pipe(Flag.withMetavar("SIZE"), Flag.withDescription(`Memory for buffers, e.g. 256MB. Default ${ENGINE_DEFAULTS.maxMemory >> 20}MiB`), Flag.optional),
  threads: Flag.Int("threads").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("Threads that compute beside the one that reads and writes. Default: one per core beyond the second, at most 4"),
    Flag.optional
  ),
  io: Flag.Literals("io", ["auto", "direct", "buffered"]).pipe(
    Flag.withDescription("Past the page cache (direct), through it (buffered), or whichever is found to be faster here (auto, the default)"),
    Flag.withDefault(ENGINE_DEFAULTS.io as IoMode)
  )
}

const UNITS: Readonly<Record<string, number>> = { "": 1, B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 1024, MIB: 1024 ** 2, GIB: 1024 ** 3 }

/** `256MB`, `1GiB`, `1000000`. */
export const parseSize = (text: string, flag: string): number => {
  const match = /^(\d{1,15}(?:\.\d{1,3})?)\s*([a-z]*)$/i.exec(text.trim())
  const unit = match ? UNITS[match[2]!.toUpperCase()] : undefined
  if (!match || unit === undefined) throw new UsageError({ problem: `--${flag}: ${text} is no size`, hint: "A number with B, KB, MB, GB, KiB, MiB or GiB." })
  const bytes = Math.floor(Number(match[1]) * unit)
  if (!Number.isSafeInteger(bytes)) throw new UsageError({ problem: `--${flag}: ${text} is more than any machine has` })
  return bytes
}

type IoMode = NonNullable<EngineLimits["io"]>

export type EngineFlags = Values<typeof engine>

export const engineOptions = (flags: EngineFlags) => {
  const concurrency = within(flags.concurrency, "concurrency", ...ENGINE_BOUNDS.concurrency)
  const threads = within(flags.threads, "threads", ...ENGINE_BOUNDS.threads)
  const maxMemory = Option.isSome(flags.maxMemory) ? parseSize(flags.maxMemory.value, "max-memory") : undefined
  const [least, most] = ENGINE_BOUNDS.maxMemory
  if (maxMemory !== undefined && maxMemory < least) throw new UsageError({ problem: `--max-memory: at least ${least / 1e6}MB are needed` })
  if (maxMemory !== undefined && maxMemory > most) throw new UsageError({ problem: `--max-memory: more than ${most / 2 ** 30}GiB would do nothing`, hint: "Memory does not grow with the model; more buffers make no disk faster." })
  return {
    io: flags.io,
    ...(concurrency === undefined ? {} : { concurrency }),
    ...(maxMemory === undefined ? {} : { maxMemory }),
    ...(threads === undefined ? {} : { threads })
  }
}
