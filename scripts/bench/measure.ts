/** Timing of whole processes: wall seconds, CPU seconds, peak memory, bytes read and written. */
import { spawnSync } from "node:child_process"
import { readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"

export interface Measured {
  /** Seconds. */
  readonly wall: number
  readonly cpu: number
  /** Bytes; 0 where unknown. */
  readonly rss: number
  readonly read: number
  readonly written: number
}

const fail = (command: string, status: number | null, stderr: string): never => {
  throw new Error(`${command} ended with ${status}: ${stderr.slice(-500)}`)
}

/** A shell command, with `sync` counted if it is part of the command. */
export const measureShell = (command: string): Measured => {
  const started = performance.now()
  const { status, stderr } = spawnSync("bash", ["-c", `set -e; TIMEFORMAT='%U %S'; time { ${command}; } 2> >(cat >&2)`], { encoding: "utf8" })
  const wall = (performance.now() - started) / 1000
  if (status !== 0) fail(command, status, stderr)
  const [user, system] = stderr.trim().split("\n").at(-1)!.split(" ").map(Number)
  return { wall, cpu: (user ?? 0) + (system ?? 0), rss: 0, read: 0, written: 0 }
}

/**
 * Preloaded into a measured process: writes what it used when it ends. Plain JavaScript, so that it costs nothing itself. The memory
 * is the high-water mark of its own address space: `maxRSS` would begin with that of the process that started it.
 */
const METER = `data:text/javascript,${encodeURIComponent(`
import { readFileSync, writeFileSync } from "node:fs"
process.on("exit", () => {
  const { systemCPUTime, userCPUTime } = process.resourceUsage()
  const text = readFileSync("/proc/self/io", "utf8") + readFileSync("/proc/self/status", "utf8")
  const field = (name) => Number(new RegExp("^" + name + ":\\\\s+([0-9]+)", "m").exec(text)?.[1] ?? 0)
  writeFileSync(process.env.BENCH_USAGE, JSON.stringify({ rss: field("VmHWM") * 1024, cpu: (systemCPUTime + userCPUTime) / 1e6, read: field("rchar"), written: field("wchar") }))
})`)}`

/** Our own command line, as built. */
export const measureOwn = (bin: string, args: ReadonlyArray<string>): Measured => {
  const usageFile = join(tmpdir(), `bench-usage-${process.pid}.json`)
  const started = performance.now()
  const { status, stderr } = spawnSync(process.execPath, ["--import", METER, bin, ...args], {
    encoding: "utf8",
    env: { ...process.env, BENCH_USAGE: usageFile }
  })
  const wall = (performance.now() - started) / 1000
  if (status !== 0) fail(args.join(" "), status, stderr)
  const usage = JSON.parse(readFileSync(usageFile, "utf8")) as Omit<Measured, "wall">
  rmSync(usageFile)
  return { wall, ...usage }
}

/** Seconds of a command without anything loaded beside it. */
export const seconds = (bin: string, args: ReadonlyArray<string>): number => {
  const started = performance.now()
  const { status, stderr } = spawnSync(process.execPath, [bin, ...args], { encoding: "utf8" })
  if (status !== 0) fail(args.join(" "), status, stderr)
  return (performance.now() - started) / 1000
}

/** Forget the cached pages of a directory's files, so that the next reader finds them on disk. */
export const makeCold = (directory: string): void => {
  spawnSync("bash", ["-c", `sync; find '${directory}' -type f -exec dd of={} oflag=nocache conv=notrunc,fdatasync count=0 status=none \\;`])
}

/** Read a directory's files once, so that the next reader finds them in memory. */
export const makeWarm = (directory: string): void => {
  spawnSync("bash", ["-c", `find '${directory}' -type f -exec cat {} + > /dev/null`])
}

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const shuffled = <A>(items: ReadonlyArray<A>): ReadonlyArray<A> => {
  const out = [...items]
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    ;[out[i], out[j]] = [out[j]!, out[i]!]
  }
  return out
}

export const bytesBelow = (directory: string): number =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
