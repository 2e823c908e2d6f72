/** `npm run cluster:faults [-- --seeds 300 --from 0 --only FAULT]`: many seeds of every fault; exit code 1 if any ends as it must not. */
import { parseArgs } from "node:util"
import { type Ending, inProcessFaults, processFaults, runInProcess, runProcesses } from "./harness/faults.ts"

const { values } = parseArgs({ options: { seeds: { type: "string", default: "300" }, from: { type: "string", default: "0" }, only: { type: "string" }, jobs: { type: "string", default: "4" } } })
const from = Number(values.from)
const seeds = Array.from({ length: Number(values.seeds) }, (_, index) => from + index)

/** Every sixth seed starts real processes. */
const run = (seed: number): Promise<Ending> => {
  const fault = seed % 6 === 5 ? processFaults[Math.floor(seed / 6) % processFaults.length]! : inProcessFaults[(seed - Math.floor(seed / 6)) % inProcessFaults.length]!
  if (values.only !== undefined && fault !== values.only) return Promise.resolve({ fault, seed, seconds: 0, complaints: [] })
  return (processFaults as ReadonlyArray<string>).includes(fault) ? runProcesses(fault as typeof processFaults[number], seed) : runInProcess(fault as typeof inProcessFaults[number], seed)
}

/** Seconds that all processes have to end, from the fault on. */
const IN_TIME = 20

const started = performance.now()
const counts = new Map<string, number>()
let bad = 0
let slowest = 0
const queue = [...seeds]
await Promise.all(Array.from({ length: Number(values.jobs) }, async () => {
  for (let seed = queue.shift(); seed !== undefined; seed = queue.shift()) {
    const { complaints: found, fault, seconds } = await run(seed)
    const complaints = seconds > IN_TIME ? [...found, `the last process ended ${seconds.toFixed(0)} s after the fault`] : found
    slowest = Math.max(slowest, seconds)
    counts.set(fault, (counts.get(fault) ?? 0) + 1)
    if (complaints.length === 0) continue
    bad++
    console.log(`seed ${seed}, ${fault}: ${complaints.join("; ")}`)
  }
}))
console.log([...counts].sort().map(([fault, count]) => `${fault} ${count}`).join(", "))
console.log(`${seeds.length} jobs with a fault, ${bad} of them ended as they must not; the slowest ended ${slowest.toFixed(1)} s after its fault; ${((performance.now() - started) / 1000).toFixed(0)} s in all`)
process.exitCode = bad > 0 ? 1 : 0
