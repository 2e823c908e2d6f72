/**
 * The power fails before the k-th call. What was not synced is lost, kept, torn or reordered at random; then the machine starts
 * again, and both ways on from there must lead to the same bytes.
 */
import type { DiskCalls } from "../../src/io/Disk.ts"
import { faultyDisk } from "./FaultyDisk.ts"
import { intact, recoverable } from "./checks.ts"
import { callsOf, type WalkResult } from "./faultWalk.ts"
import type { CrashModel, MemoryFileSystem } from "./MemoryFileSystem.ts"
import { randomFrom } from "./random.ts"
import type { World } from "./worlds.ts"

export const crashModels: ReadonlyArray<CrashModel> = ["ordered", "unordered"]

/** The last calls of a run: syncing directories, renaming, cleaning up. */
const COMMIT_CALLS = 16

export interface PowerOptions {
  readonly points: number
  readonly seed: number
  readonly progress?: (done: number) => void
  /** A disk that forgets some of its promises, to see that this walk would notice. */
  readonly forget?: "sync" | "syncDirectory"
}

export const powerWalk = async (world: World, { forget, points, progress, seed }: PowerOptions): Promise<ReadonlyMap<string, WalkResult>> => {
  const results = new Map<string, { points: number; failed: number; problems: Array<string> }>()
  const calls = await callsOf(world, 1)
  // From the first call that writes on.
  const first = calls.find((call) => call.operation === "makeDirectory")!.index
  for (let i = 0; i < points; i++) {
    const model = crashModels[i % crashModels.length]!
    // Half of them all over the run, half in the commit, where it matters most; the last one when all is done.
    const commit = Math.max(first, calls.length - COMMIT_CALLS)
    const [from, to, j] = i % 4 < 2 ? [first, commit, i] : [commit, calls.length + 1, i]
    const at = from + Math.floor((j + 0.5) * (to - from) / points)
    const result = results.get(model) ?? { points: 0, failed: 0, problems: [] }
    results.set(model, result)
    const found = await crashAt(world, at, model, randomFrom(seed + i), forget)
    result.points++
    result.failed++
    result.problems.push(...found.map((p) => `${world.name}, power lost before call ${at} (${calls[at]?.operation ?? "the end"} ${calls[at]?.path ?? ""}), ${model}, seed ${seed + i}: ${p}`))
    progress?.(i)
  }
  return results
}

const crashAt = async (world: World, at: number, model: CrashModel, random: () => number, forget: PowerOptions["forget"]): Promise<ReadonlyArray<string>> => {
  const fs = world.before.clone()
  let image: MemoryFileSystem | undefined
  const disk = faultyDisk(forgetful(fs.calls, forget), (call) => {
    if (call.index === at) image = fs.image(model, random)
    // What the dying process still does reaches nobody.
    return call.index >= at ? { errno: "EIO" } : undefined
  })
  await world.run(disk)
  image ??= fs.image(model, random)
  const problems = [...await intact(world, image), ...await recoverable(world, image)]
  return problems
}

const forgetful = (calls: DiskCalls, what: PowerOptions["forget"]): DiskCalls => {
  if (what === "syncDirectory") return { ...calls, syncDirectory: async () => {} }
  if (what === "sync") return { ...calls, open: async (...args) => ({ ...await calls.open(...args), sync: async () => {} }) }
  return calls
}
