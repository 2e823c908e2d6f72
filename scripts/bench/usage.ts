/** Preloaded into a measured process: writes what it used to the file named by BENCH_USAGE when it ends. */
import { readFileSync, writeFileSync } from "node:fs"

process.on("exit", () => {
  const file = process.env["BENCH_USAGE"]
  if (file === undefined) return
  const { maxRSS, systemCPUTime, userCPUTime } = process.resourceUsage()
  const io = (field: string): number => {
    try {
      return Number(new RegExp(`^${field}: (\\d+)$`, "m").exec(readFileSync("/proc/self/io", "utf8"))?.[1] ?? 0)
    } catch {
      return 0
    }
  }
  writeFileSync(file, JSON.stringify({ rss: maxRSS * 1024, cpu: (systemCPUTime + userCPUTime) / 1e6, read: io("rchar"), written: io("wchar") }))
})
