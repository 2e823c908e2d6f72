/**
 * The real command line on the real disk, with something happening to it at one call:
 *
 *   node child.ts CALL HOW ARGUMENTS…
 *
 * CALL is a number, or `payload+N`: the N-th call after the first write of a data file. HOW is `before`, `after` or `half` (of a transfer) for a SIGKILL, `until:FILE` to wait at the commit until FILE exists, or the name of a
 * signal that it gets while the call is made.
 */
import { Layer } from "effect"
import { existsSync } from "node:fs"
import { main } from "../../src/cli/main.ts"
import { Disk, type DiskCalls, nodeCalls } from "../../src/io/Disk.ts"
import { faultyDisk } from "./FaultyDisk.ts"
import { hurry } from "./hurry.ts"

const [at, how, ...args] = process.argv.slice(2) as [string, string, ...Array<string>]
const offset = /^payload\+(\d+)$/.exec(at)?.[1]
/** Which call it is, once that is known. */
let wanted = offset === undefined ? Number(at) : Number.POSITIVE_INFINITY
const die = () => { process.kill(process.pid, "SIGKILL") }

/** The calls, of which the first fsync of a directory of staged data waits: the process lives, and does nothing. */
const waiting = (file: string): DiskCalls => ({
  ...nodeCalls,
  syncDirectory: async (path) => {
    while (path.includes(".partial/data") && !existsSync(file)) await new Promise((resolve) => setTimeout(resolve, 20))
    return nodeCalls.syncDirectory(path)
  }
})

hurry()
main(args, Layer.succeed(Disk, how.startsWith("until:") ? waiting(how.slice("until:".length)) : faultyDisk(nodeCalls, ({ index, operation, path }) => {
  if (offset !== undefined && wanted === Number.POSITIVE_INFINITY && operation === "write" && path.endsWith(".distcp")) wanted = index + Number(offset)
  if (index !== wanted) return undefined
  switch (how) {
    case "before":
      die()
      return undefined
    case "after":
      return { after: die }
    case "half":
      return { after: die, ...(operation === "write" ? { limit: 20_000 } : {}) }
    default:
      process.kill(process.pid, how)
      return undefined
  }
})))
