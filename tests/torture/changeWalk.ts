/** Before the k-th call another program changes or truncates a file that is being read. Nobody may get a mixture of both. */
import { faultyDisk } from "./FaultyDisk.ts"
import { differences, intact } from "./checks.ts"
import { callsOf, type WalkResult } from "./faultWalk.ts"
import type { World } from "./worlds.ts"

/** Somewhere in the data: headers are checked anyway. */
const flipped = (bytes: Uint8Array): Uint8Array => {
  bytes[bytes.byteLength - 4000]! ^= 0x10
  return bytes
}

const changes = new Map<string, { readonly edit: (bytes: Uint8Array) => Uint8Array; readonly keepTime?: boolean }>([
  ["source truncated", { edit: (bytes) => bytes.slice(0, bytes.byteLength - 1000) }],
  ["source changed", { edit: flipped }],
  ["source changed, its time put back", { edit: flipped, keepTime: true }]
])

/** Every source file that the job reads more than once: those with data. */
const dataFiles = async (world: World): Promise<ReadonlyArray<string>> =>
  [...new Set((await callsOf(world, 1)).filter((c) => c.operation === "read" && /\.(safetensors|distcp)$/.test(c.path)).map((c) => c.path))]

export const changeWalk = async (world: World, { every }: { readonly every: number }): Promise<ReadonlyMap<string, WalkResult>> => {
  const results = new Map<string, { points: number; failed: number; problems: Array<string> }>()
  const files = await dataFiles(world)
  const total = (await callsOf(world, 1)).length
  for (const [name, { edit, keepTime = false }] of changes) {
    const result = { points: 0, failed: 0, problems: new Array<string>() }
    results.set(name, result)
    for (const [f, path] of files.entries()) {
      const changed = world.before.clone()
      changed.edit(path, edit)
      const fresh = changed.clone()
      const other = (await world.run(fresh.calls)).status === "done" ? fresh.files(world.target) : undefined
      for (let at = f; at < total; at += every) {
        const fs = world.before.clone()
        const outcome = await world.run(faultyDisk(fs.calls, ({ index }) => {
          if (index === at) fs.edit(path, edit, { keepTime })
          return undefined
        }))
        result.points++
        const problem = (text: string) => result.problems.push(`${world.name}, ${name} (${path}) before call ${at}: ${text}`)
        const isWhole = () => {
          const found = fs.files(world.target)
          return differences(found, world.expected).length === 0 || (other !== undefined && differences(found, other).length === 0)
        }
        if (outcome.status === "refused") {
          result.failed++
          for (const text of await intact(world, fs, new Set([path]))) problem(text)
          // Going on is refused, or gives what the changed source gives.
          const resumed = await world.run(fs.calls, { resume: true })
          if (resumed.status === "done" && !isWhole()) problem("resumed: a mixture was published")
          if (resumed.status === "defect" || resumed.status === "hang") problem(`resumed: ${resumed.message}`)
        } else if (outcome.status !== "done") problem(outcome.message)
        else if (!isWhole()) problem("a mixture was published")
      }
    }
  }
  return results
}
