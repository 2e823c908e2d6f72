/**
 * Preloaded into a process (`--import`), it says on descriptor 3 what the process took: `{"bytes": …, "cpuMs": …}`. Plain JavaScript,
 * so that it takes nothing itself.
 *
 * Gotchas: on Linux a process inherits the most memory of the one that started it (`getrusage`'s `ru_maxrss` lives on through `exec`),
 * so that of a child of a test runner is the runner's. The high-water mark of its own address space begins at `exec`.
 */
export const METER = `data:text/javascript,${encodeURIComponent(`
import { existsSync, readFileSync, writeSync } from "node:fs"
const STATUS = "/proc/self/status"
process.on("exit", () => {
  const { maxRSS, systemCPUTime, userCPUTime } = process.resourceUsage()
  const mark = existsSync(STATUS) ? /^VmHWM:\\s+([0-9]+) kB$/m.exec(readFileSync(STATUS, "utf8")) : null
  writeSync(3, JSON.stringify({ bytes: Number(mark?.[1] ?? maxRSS) * 1024, cpuMs: (systemCPUTime + userCPUTime) / 1000 }))
})`)}`

export interface Usage {
  /** The most memory that the process had at once (resident set). */
  readonly bytes: number
  /** CPU milliseconds, of all its threads. */
  readonly cpuMs: number
}

export const usageOf = (text: string): Usage => (text === "" ? { bytes: NaN, cpuMs: NaN } : JSON.parse(text) as Usage)
