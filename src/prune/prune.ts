/**
 * A training folder with fewer iterations, or with iterations that have no optimizer state any more. What is removed is renamed first and
 * removed afterwards, so that a crash leaves whole iterations and nothing that looks like one; links are never followed.
 */
import { Effect } from "effect"
import { join } from "node:path"
import { iterationOf, TRACKER, TRAIN_STATE_TRACKER } from "../checkpoint/names.ts"
import { type JobError, InvalidFile, quote, UsageError } from "../errors.ts"
import { converting, uninterruptibly } from "../io/attempt.ts"
import { Disk, type DiskCalls } from "../io/Disk.ts"
import { prepareReshard } from "../reshard/prepareReshard.ts"
import { present } from "../store/present.ts"
import { readSmall } from "../store/readSmall.ts"
import { readTrainState } from "../torch/TrainState.ts"

/** What of a training folder may go. */
export interface PruneOptions {
  /** Keep only iterations whose step is a multiple of this. */
  readonly keepEvery?: number
  /** Keep as many of the newest; at least one. */
  readonly keepLast?: number
  /** Take the optimizer's state out of the iterations that stay, but for the newest and the tracked. */
  readonly dropOptimizer?: boolean
}

/** One iteration, and what becomes of it. */
export interface PrunedIteration {
  readonly name: string
  readonly step: number
  readonly bytes: number
  readonly fate: "kept" | "removed" | "slimmed"
  /** Why it stays as it is, where it could have gone. */
  readonly because?: string
  /** Bytes that go. */
  readonly freed: number
}

/** What pruning removes, or removed. */
export interface PruneReport {
  readonly directory: string
  readonly iterations: ReadonlyArray<PrunedIteration>
  readonly freed: number
  readonly done: boolean
  readonly notes: ReadonlyArray<string>
}

/** Pruning that is planned; its run removes. */
export interface PreparedPrune {
  readonly report: PruneReport
  readonly run: () => Effect.Effect<PruneReport, JobError, Disk>
}

/** In front of a folder that is being removed, and of one that its slimmer form is made in. No loader takes either for an iteration. */
const REMOVING = ".removing-"
const SLIMMING = ".slimming-"
const DEEPEST = 16
const LARGEST_TRACKER = 1 << 20

/** Bytes of the regular files below, links not followed. */
const bytesBelow = async (disk: DiskCalls, path: string, depth = 0): Promise<number> => {
  if (depth > DEEPEST) throw new InvalidFile({ path, code: "prune/too-deep", problem: `has folders more than ${DEEPEST} deep` })
  let sum = 0
  for (const name of await disk.list(path)) {
    const below = join(path, name)
    const info = await disk.lstat(below)
    sum += info.kind === "directory" ? await bytesBelow(disk, below, depth + 1) : info.kind === "file" ? info.size : 0
  }
  return sum
}

/** Steps that trackers name; what a tracker says that nobody understands is an error: nothing is pruned then. */
const trackedSteps = async (disk: DiskCalls, directory: string): Promise<ReadonlySet<number>> => {
  const steps = new Set<number>()
  const read = async (name: string, parse: (bytes: Uint8Array) => number | undefined): Promise<void> => {
    const path = join(directory, name)
    if (!await present(disk, path)) return
    const step = parse(await readSmall(disk, path, path, LARGEST_TRACKER))
    if (step !== undefined) steps.add(step)
  }
  await read(TRACKER, (bytes) => {
    const text = new TextDecoder().decode(bytes).trim()
    if (text === "release") return undefined
    if (!/^\d{1,15}$/.test(text)) throw new InvalidFile({ path: join(directory, TRACKER), code: "prune/tracker", problem: `says "${quote(text)}", which is no training step, so which iteration must stay is not known` })
    return Number(text)
  })
  await read(TRAIN_STATE_TRACKER, (bytes) => readTrainState(bytes).step)
  return steps
}

interface Found {
  readonly name: string
  readonly step: number
  readonly bytes: number
}

const iterationsIn = async (disk: DiskCalls, directory: string): Promise<{ readonly found: ReadonlyArray<Found>; readonly notes: ReadonlyArray<string> }> => {
  const found: Array<Found> = []
  const notes: Array<string> = []
  for (const name of await disk.list(directory)) {
    const step = iterationOf(name)
    if (step === undefined) continue
    if ((await disk.lstat(join(directory, name))).kind !== "directory") notes.push(`${name} is no folder of this directory (a link, or a file) and stays`)
    else found.push({ name, step, bytes: await bytesBelow(disk, join(directory, name)) })
  }
  return { found: found.sort((a, b) => a.step - b.step), notes }
}

/** Why an iteration must not be touched. */
const protection = (found: ReadonlyArray<Found>, tracked: ReadonlySet<number>, keepLast: number): ReadonlyMap<string, string> =>
  new Map(found.flatMap(({ name, step }, i): ReadonlyArray<readonly [string, string]> => {
    if (tracked.has(step)) return [[name, "a tracker names it"]]
    const age = found.length - i
    return age === 1 ? [[name, "it is the newest"]] : age <= keepLast ? [[name, `it is one of the newest ${keepLast}`]] : []
  }))

/** Finish or undo what a crash left. */
const recovered = async (disk: DiskCalls, directory: string): Promise<void> => {
  for (const name of await disk.list(directory)) {
    if (!name.startsWith(SLIMMING) || iterationOf(name.slice(SLIMMING.length)) === undefined) continue
    const iteration = name.slice(SLIMMING.length)
    const made = join(directory, name, iteration)
    // The old one was moved out of the way, which is done only when the new one is complete.
    const isOurs = (await disk.lstat(join(directory, name))).kind === "directory"
    if (isOurs && !await present(disk, join(directory, iteration)) && await present(disk, made)) await disk.rename(made, join(directory, iteration))
    await disk.removeTree(join(directory, name))
  }
  for (const name of await disk.list(directory)) {
    if (name.startsWith(REMOVING) && iterationOf(name.slice(REMOVING.length)) !== undefined) await disk.removeTree(join(directory, name))
  }
  await disk.syncDirectory(directory)
}

const moveAway = async (disk: DiskCalls, directory: string, name: string): Promise<string> => {
  const away = join(directory, REMOVING + name)
  await disk.rename(join(directory, name), away)
  await disk.syncDirectory(directory)
  return away
}

const removed = async (disk: DiskCalls, directory: string, name: string): Promise<void> => {
  await disk.removeTree(await moveAway(disk, directory, name))
}

/** The iteration without its optimizer, in the place of the one that it is made from. */
const slimmed = Effect.fnUntraced(function*(disk: DiskCalls, directory: string, name: string) {
  const folder = join(directory, SLIMMING + name)
  const { run } = yield* prepareReshard(join(directory, name), SLIM)
  yield* run(folder, { overwrite: false, link: false })
  yield* uninterruptibly(async () => {
    const away = await moveAway(disk, directory, name)
    await disk.rename(join(folder, name), join(directory, name))
    await disk.syncDirectory(directory)
    await disk.removeTree(folder)
    await disk.removeTree(away)
  })
})

const SLIM = { layout: undefined, dropOptimizer: true, onlyModel: false, rng: "auto", seed: undefined } as const

/** Plan to prune the training folder `directory`. UsageError where nothing is asked for; InvalidFile for trackers that cannot be read. */
export const preparePrune = Effect.fnUntraced(function*(directory: string, options: PruneOptions) {
  const disk = yield* Disk
  const { dropOptimizer = false, keepEvery, keepLast = 1 } = options
  if (keepEvery === undefined && !dropOptimizer) return yield* new UsageError({ problem: "nothing to prune is named", hint: "--keep-every K removes iterations, --drop optimizer takes their optimizer state out." })
  for (const [what, n] of [["--keep-every", keepEvery ?? 1], ["--keep-last", keepLast]] as const) {
    if (!Number.isSafeInteger(n) || n < 1) return yield* new UsageError({ problem: `${what} ${n}: a whole number from 1 is needed` })
  }
  const { found, notes } = yield* converting(() => iterationsIn(disk, directory))
  if (found.length === 0) return yield* new InvalidFile({ path: directory, code: "prune/no-iterations", problem: "has no iter_* folders, so it is no training folder" })
  const tracked = yield* converting(() => trackedSteps(disk, directory))
  const stays = protection(found, tracked, keepLast)
  const iterations: Array<PrunedIteration> = []
  for (const { bytes, name, step } of found) {
    const because = stays.get(name)
    if (because !== undefined) iterations.push({ name, step, bytes, fate: "kept", because, freed: 0 })
    else if (keepEvery !== undefined && step % keepEvery !== 0) iterations.push({ name, step, bytes, fate: "removed", freed: bytes })
    else if (!dropOptimizer) iterations.push({ name, step, bytes, fate: "kept", freed: 0 })
    else {
      const { report } = yield* prepareReshard(join(directory, name), SLIM)
      const freed = Math.max(0, bytes - report.writtenBytes)
      iterations.push(report.dropped === 0 ? { name, step, bytes, fate: "kept", because: "it has no optimizer state", freed: 0 } : { name, step, bytes, fate: "slimmed", freed })
    }
  }
  const report: PruneReport = { directory, iterations, freed: iterations.reduce((sum, { freed }) => sum + freed, 0), done: false, notes }
  const run = Effect.fnUntraced(function*() {
    yield* uninterruptibly(() => recovered(disk, directory))
    for (const { fate, name } of iterations) {
      // A trainer may have gone on since.
      const now = yield* converting(() => trackedSteps(disk, directory))
      if (fate === "kept" || now.has(iterationOf(name)!)) continue
      if (fate === "removed") yield* uninterruptibly(() => removed(disk, directory, name))
      else yield* slimmed(disk, directory, name)
    }
    return { ...report, done: true }
  })
  return { report, run } satisfies PreparedPrune
})

