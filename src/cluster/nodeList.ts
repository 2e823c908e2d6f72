/** Slurm's compressed lists of hosts (`n[01-03,7],login2`) and of numbers of tasks (`2(x3),1`). */
import { LaunchError, quote } from "../errors.ts"

/** Slurm's own limit of a node list is 64 Ki nodes. */
const LONGEST_LIST = 1 << 20

/** A comma at bracket depth 0 separates. */
const entries = (list: string): ReadonlyArray<string> => list.split(/,(?![^[]*\])/)

/** The first host of a list. `n[01-03,7]` → `n01`. */
export const firstHost = (list: string): string => {
  const first = list.length > LONGEST_LIST ? undefined : entries(list)[0]!.trim()
  const host = first?.replace(/\[([0-9]+)[^\]]*\]/g, "$1")
  if (host === undefined || !/^[A-Za-z0-9][\w.-]{0,254}$/.test(host)) {
    throw new LaunchError({ code: "launch/value", problem: `SLURM_STEP_NODELIST is no list of hosts: ${quote(list)}` })
  }
  return host
}

/** How many tasks the node has: `2(x3),1` gives 2 for nodes 0 to 2 and 1 for node 3; undefined if there is no such node. */
export const tasksOfNode = (list: string, node: number): number | undefined => {
  if (list.length > LONGEST_LIST) return undefined
  let before = 0
  for (const entry of list.split(",")) {
    const match = /^([0-9]{1,7})(?:\(x([0-9]{1,7})\))?$/.exec(entry.trim())
    if (!match) return undefined
    before += Number(match[2] ?? 1)
    if (node < before) return Number(match[1])
  }
  return undefined
}
