/** What must be true after a disturbed run. Each returns what is wrong. */
import { basename, dirname } from "node:path"
import { recover } from "../../src/publish/staging/swap.ts"
import type { MemoryFileSystem } from "./MemoryFileSystem.ts"
import type { Outcome, World } from "./worlds.ts"

export const differences = (found: ReadonlyMap<string, Uint8Array>, expected: ReadonlyMap<string, Uint8Array>): ReadonlyArray<string> => {
  const out: Array<string> = []
  for (const [name, bytes] of expected) {
    const own = found.get(name)
    if (own === undefined) out.push(`${name} is missing`)
    else if (Buffer.compare(own, bytes) !== 0) out.push(`${name} differs`)
  }
  for (const name of found.keys()) if (!expected.has(name)) out.push(`${name} is too much`)
  return out
}

/** Names beside the target that were not there before. */
export const leftovers = (world: World, fs: MemoryFileSystem): ReadonlyArray<string> => {
  const names = (of: MemoryFileSystem) => [...of.files("/w").keys()].filter((name) => !name.slice(0, -1).includes("/"))
  const before = new Set(names(world.before))
  const beside = [...fs.files(dirname(world.target)).keys()].filter((name) => /^\.[^/]*\/$/.test(name))
  const known = new Set([...before, `${basename(world.target)}/`, `${basename(dirname(world.target))}/`])
  return [...names(fs).filter((name) => !known.has(name)), ...beside]
}

const isStaging = (name: string): boolean => /^\..+\.(partial|discarded\.[0-9a-f-]{36})\/$/.test(name)

/** After any disturbance: the target is as it was or complete, the sources are untouched, nothing but staging folders is left. */
export const intact = async (world: World, fs: MemoryFileSystem, changed: ReadonlySet<string> = new Set()): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  await recover(fs.calls, world.target)
  if (fs.has(world.target)) {
    const found = fs.files(world.target)
    const isNew = differences(found, world.expected).length === 0
    const isOld = world.former !== undefined && differences(found, world.former).length === 0
    if (!isNew && !isOld) problems.push(`the target is neither old nor new: ${differences(found, world.expected).slice(0, 3).join(", ")}`)
  } else if (world.former !== undefined) problems.push("the former target is gone")
  for (const source of world.sources) {
    const wrong = differences(fs.files(source), world.before.files(source)).filter((d) => ![...changed].some((path) => d.includes(basename(path))))
    problems.push(...wrong.map((d) => `source ${source}: ${d}`))
  }
  problems.push(...leftovers(world, fs).filter((name) => !isStaging(name)).map((name) => `stray ${name}`))
  return problems
}

/** Is the target what an undisturbed run writes, and is nothing left beside it? */
export const complete = (world: World, fs: MemoryFileSystem, outcome: Outcome): ReadonlyArray<string> => {
  if (outcome.status !== "done") return [`ended with ${JSON.stringify(outcome)}`]
  return [...differences(fs.files(world.target), world.expected), ...leftovers(world, fs).map((name) => `left ${name}`)]
}

/** From the state that a disturbed run left, both ways lead to the same bytes: going on and starting over. */
export const recoverable = async (world: World, fs: MemoryFileSystem): Promise<ReadonlyArray<string>> => {
  const problems: Array<string> = []
  const resumed = fs.clone()
  problems.push(...complete(world, resumed, await world.run(resumed.calls, { resume: true, overwrite: world.overwrite })).map((p) => `resumed: ${p}`))
  const again = fs.clone()
  // A run that failed after its commit has left a complete target, which is only written again if that is asked for.
  const overwrite = world.overwrite || again.has(world.target)
  problems.push(...complete(world, again, await world.run(again.calls, { resume: false, overwrite })).map((p) => `again: ${p}`))
  if (resumed.openFiles + again.openFiles > 0) problems.push("files stay open")
  return problems
}
