/** Every call of a job fails once, in every way in which it can. */
import { type Call, type Fault, faultyDisk, type Operation } from "./FaultyDisk.ts"
import { complete, intact, recoverable } from "./checks.ts"
import type { World } from "./worlds.ts"

export interface WalkResult {
  readonly points: number
  /** Points whose run failed, as it should; the others got over it. */
  readonly failed: number
  readonly problems: ReadonlyArray<string>
}

/** What can go wrong with a call. `once`: this call only; `from then on`: every call of its kind. */
interface Kind {
  readonly name: string
  readonly applies: (operation: Operation) => boolean
  readonly fault: Fault
  readonly lasting?: boolean
}

const WRITING: ReadonlySet<Operation> = new Set<Operation>(["create", "write", "truncate", "sync", "makeDirectory", "rename", "link", "syncDirectory"])
const NAMING: ReadonlySet<Operation> = new Set<Operation>([
  "open", "create", "lstat", "stat", "realpath", "list", "makeDirectory", "rename", "link", "remove", "removeDirectory", "removeTree", "syncDirectory"
])

const kinds: ReadonlyArray<Kind> = [
  { name: "EIO", applies: () => true, fault: { errno: "EIO" } },
  { name: "EIO from then on", applies: (o) => o !== "close", fault: { errno: "EIO" }, lasting: true },
  { name: "ENOSPC", applies: (o) => WRITING.has(o), fault: { errno: "ENOSPC" } },
  { name: "EDQUOT from then on", applies: (o) => WRITING.has(o), fault: { errno: "EDQUOT" }, lasting: true },
  { name: "EACCES", applies: (o) => NAMING.has(o), fault: { errno: "EACCES" } },
  { name: "EMFILE", applies: (o) => o === "open" || o === "create", fault: { errno: "EMFILE" } },
  { name: "short transfer", applies: (o) => o === "read" || o === "write", fault: { limit: 4096 } },
  { name: "short transfer, odd", applies: (o) => o === "read" || o === "write", fault: { limit: 1 } }
]

export const faultKinds = kinds.map((k) => k.name)

/** The calls of an undisturbed run. */
export const callsOf = async (world: World, concurrency: number): Promise<ReadonlyArray<Call>> => {
  const fs = world.before.clone()
  const disk = faultyDisk(fs.calls, () => undefined)
  await world.run(disk, { concurrency })
  return disk.made
}

export interface WalkOptions {
  /** Take every so-many-th point. */
  readonly every: number
  readonly concurrency: number
  readonly progress?: (done: number) => void
}

export const faultWalk = async (world: World, { concurrency, every, progress }: WalkOptions): Promise<ReadonlyMap<string, WalkResult>> => {
  const calls = await callsOf(world, concurrency)
  const results = new Map<string, { points: number; failed: number; problems: Array<string> }>(
    kinds.map((k) => [k.name, { points: 0, failed: 0, problems: [] }])
  )
  const points = kinds.flatMap((kind) => calls.filter((call) => kind.applies(call.operation)).map((call) => ({ kind, call })))
  for (const [i, { call, kind }] of points.entries()) {
    if (i % every !== 0) continue
    const result = results.get(kind.name)!
    const { failed, problems } = await faultAt(world, call, kind, concurrency)
    result.points++
    if (failed) result.failed++
    result.problems.push(...problems.map((p) => `${world.name}, ${kind.name} at call ${call.index} (${call.operation} ${call.path}): ${p}`))
    progress?.(i)
  }
  return results
}

const faultAt = async (world: World, { index, operation }: Call, kind: Kind, concurrency: number) => {
  const fs = world.before.clone()
  let hit = -1
  const disk = faultyDisk(fs.calls, (call) => {
    const isIt = call.index === index || (kind.lasting === true && hit >= 0 && call.index > index && call.operation === operation)
    if (!isIt || !kind.applies(call.operation)) return undefined
    if (hit < 0) hit = call.index
    return kind.fault
  })
  const outcome = await world.run(disk, { concurrency })
  // Calls that were under way when another failed end by themselves.
  for (let turn = 0; turn < 20 && (turn < 3 || disk.opened().length > 0); turn++) await new Promise((resolve) => setImmediate(resolve))
  const after = disk.opened().length + fs.openFiles
  const problems: Array<string> = []
  if (outcome.status === "defect" || outcome.status === "hang") problems.push(`${outcome.status}: ${outcome.message}`)
  if (outcome.status === "refused" && outcome.exitCode >= 126) problems.push(`exit code ${outcome.exitCode}`)
  if (after > 0) problems.push(`${after} files stay open`)
  problems.push(...syncedAgain(disk.made, hit, kind))
  if (outcome.status === "done") {
    // What could not be cleaned up may lie there.
    problems.push(...complete(world, fs, outcome).filter((p) => !p.startsWith("left .")))
  }
  problems.push(...await intact(world, fs))
  problems.push(...await recoverable(world, fs))
  return { failed: outcome.status === "refused", problems }
}

/** After a failed fsync the kernel may have dropped the data: asking again would be told that all is well. */
const syncedAgain = (made: ReadonlyArray<Call>, hit: number, kind: Kind): ReadonlyArray<string> => {
  const failed = made[hit]
  if (failed?.operation !== "sync" || kind.lasting) return []
  return made.some((call) => call.index > hit && call.operation === "sync" && call.path === failed.path) ? ["fsync was called again"] : []
}
