/**
 * A program in a process with a bounded heap. A heap that may grow grows as the garbage collector finds time for it, and so by the
 * machine and what else it does; a bounded one either holds what the program needs or ends it.
 */
import { spawnSync } from "node:child_process"
import { METER, type Usage, usageOf } from "./usage.ts"

export interface Measured extends Usage {
  /** Null if a signal ended it; V8 does that where the heap is full. */
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Run a program (a file for Node) with a heap of `heapMb` MiB for what lives longer than a moment. */
export const measured = (program: string, heapMb: number, args: ReadonlyArray<string>): Measured => {
  const flags = [`--max-old-space-size=${heapMb}`, "--max-semi-space-size=4", "--import", METER]
  const { output, status, stderr, stdout } = spawnSync(process.execPath, [...flags, program, ...args], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe", "pipe"]
  })
  return { status, stdout, stderr, ...usageOf(output[3] ?? "") }
}
