/** Small jobs on a file system in memory, each with what it has to write. */
import { Cause, Effect, Exit, Layer } from "effect"
import { families } from "../../routes/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import { isBridgeError } from "../../src/errors.ts"
import { Disk, type DiskCalls } from "../../src/io/Disk.ts"
import { prepareRelabel } from "../../src/relabel/relabel.ts"
import { standardLayout } from "../../src/parallel/Layout.ts"
import { faultyDisk } from "./FaultyDisk.ts"
import { loadCase } from "../conformance/cases.ts"
import { MemoryFileSystem } from "./MemoryFileSystem.ts"
import { randomFrom } from "./random.ts"

export interface Attempt {
  readonly resume?: boolean
  readonly overwrite?: boolean
  readonly concurrency?: number
}

export interface World {
  readonly name: string
  /** Before the job. Clone it. */
  readonly before: MemoryFileSystem
  readonly target: string
  readonly overwrite: boolean
  /** What the job leaves at the target. */
  readonly expected: ReadonlyMap<string, Uint8Array>
  /** What was there before, if anything. */
  readonly former: ReadonlyMap<string, Uint8Array> | undefined
  readonly sources: ReadonlyArray<string>
  readonly run: (calls: DiskCalls, attempt?: Attempt) => Promise<Outcome>
}

export type Outcome =
  | { readonly status: "done"; readonly notes: ReadonlyArray<string> }
  | { readonly status: "refused"; readonly tag: string; readonly code: string; readonly message: string; readonly exitCode: number }
  | { readonly status: "defect" | "hang"; readonly message: string }

/** A run that takes longer than this will not end. */
const PATIENCE_MS = 20_000

export const outcomeOf = async (effect: Effect.Effect<{ readonly notes: ReadonlyArray<string> }, unknown, Disk>, calls: DiskCalls): Promise<Outcome> => {
  const run = Effect.runPromiseExit(effect.pipe(Effect.provide(Layer.succeed(Disk, calls))))
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<undefined>((resolve) => { timer = setTimeout(resolve, PATIENCE_MS, undefined) })
  const exit = await Promise.race([run, patience])
  clearTimeout(timer)
  if (exit === undefined) return { status: "hang", message: `no end after ${PATIENCE_MS} ms` }
  if (Exit.isSuccess(exit)) return { status: "done", notes: exit.value.notes }
  const error: unknown = Cause.squash(exit.cause)
  return isBridgeError(error)
    ? { status: "refused", tag: error._tag, code: error._tag === "IoError" ? error.errno : error.code, message: error.message, exitCode: error.exitCode }
    : { status: "defect", message: error instanceof Error ? error.stack ?? error.message : String(error) }
}

/** The smallest blocks there are, so that small models take many calls. */
const SMALL = { maxMemory: 1, io: "auto" } as const

const imports = (tp: number) => (calls: DiskCalls, { concurrency = 1, overwrite = false, resume = false }: Attempt, target: string) =>
  outcomeOf(
    prepareImport(families, "/w/hf", { form: "standard", layout: () => standardLayout({ tp }), torchDtype: "source", mtp: "keep", allowUnmapped: [], step: 0 })
      .pipe(Effect.flatMap(({ run }) => run(target, { ...SMALL, concurrency, overwrite, resume }))),
    calls
  )

const exports = (calls: DiskCalls, { concurrency = 1, overwrite = false, resume = false }: Attempt, target: string) =>
  outcomeOf(
    prepareExport(families, "/w/hf", "/w/megatron", { torchDtype: "source", mtp: "keep", allowUnmapped: [] })
      .pipe(Effect.flatMap(({ run }) => run(target, { ...SMALL, concurrency, overwrite, resume, checksum: true }))),
    calls
  )

/** Layers get a key each: items are written anew. */
const relabels = (calls: DiskCalls, { concurrency = 1, overwrite = false, resume = false }: Attempt, target: string) =>
  outcomeOf(
    prepareRelabel(families, "/w/megatron", { to: ["indexed"], layout: () => standardLayout({ tp: 1 }) })
      .pipe(Effect.flatMap(({ run }) => run(target, { ...SMALL, concurrency, overwrite, resume, link: false }))),
    calls
  )

type Job = (calls: DiskCalls, attempt: Attempt, target: string) => Promise<Outcome>

const worldOf = async (name: string, before: MemoryFileSystem, target: string, own: Attempt, sources: ReadonlyArray<string>, job: Job): Promise<World> => {
  before.settle()
  const undisturbed = before.clone()
  const outcome = await job(undisturbed.calls, own, target)
  if (outcome.status !== "done") throw new Error(`${name}: the undisturbed run ended with ${JSON.stringify(outcome)}`)
  return {
    name,
    before,
    target,
    overwrite: own.overwrite ?? false,
    expected: undisturbed.files(target),
    former: before.has(target) ? before.files(target) : undefined,
    sources,
    run: (calls, attempt = {}) => job(calls, { ...own, ...attempt }, target)
  }
}

/** A model in three shards, as it comes from the hub. */
const hub = async (): Promise<MemoryFileSystem> => {
  const fs = new MemoryFileSystem()
  await fs.calls.makeDirectory("/w")
  await Effect.runPromise(writeHfCheckpoint(loadCase("llama-a"), "/w/hf").pipe(Effect.provide(Layer.succeed(Disk, fs.calls))))
  fs.settle()
  return fs
}

const withImport = async (fs: MemoryFileSystem, tp: number): Promise<MemoryFileSystem> => {
  const outcome = await imports(tp)(fs.calls, {}, "/w/megatron")
  if (outcome.status !== "done") throw new Error(JSON.stringify(outcome))
  return fs
}

/** An import that lost power when it had written two thirds. */
const interrupted = async (): Promise<MemoryFileSystem> => {
  const [whole, fs] = [await hub(), await hub()]
  const calls = faultyDisk(whole.calls, () => undefined)
  await imports(2)(calls, {}, "/w/runs/megatron")
  let image = fs
  const random = randomFrom(7)
  await imports(2)(faultyDisk(fs.calls, ({ index }) => {
    if (index === Math.floor(calls.made.length * 0.6)) image = fs.image("ordered", random)
    return index >= calls.made.length * 0.6 ? { errno: "EIO" } : undefined
  }), {}, "/w/runs/megatron")
  return image
}

/**
 * An import into a folder whose parent does not exist, one over a former checkpoint, one that goes on where the power failed; an
 * export; a relabelling.
 */
export const worlds = async (): Promise<ReadonlyArray<World>> => [
  await worldOf("import", await hub(), "/w/runs/megatron", {}, ["/w/hf"], imports(2)),
  await worldOf("import --overwrite", await withImport(await hub(), 1), "/w/megatron", { overwrite: true }, ["/w/hf"], imports(2)),
  await worldOf("import --resume", await interrupted(), "/w/runs/megatron", { resume: true }, ["/w/hf"], imports(2)),
  await worldOf("export", await withImport(await hub(), 2), "/w/exported", {}, ["/w/hf", "/w/megatron"], exports),
  await worldOf("relabel", await withImport(await hub(), 2), "/w/relabelled", {}, ["/w/megatron"], relabels)
]
