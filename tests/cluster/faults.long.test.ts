/** A sample of what `npm run cluster:faults` does with hundreds of seeds: every fault that needs no processes of its own, and each that does once. */
import { describe, expect, it } from "vitest"
import { inProcessFaults, runInProcess, runProcesses } from "./harness/faults.ts"

describe("a job with a fault ends in time, with the cause, and publishes all or nothing:", () => {
  it.concurrent.each(inProcessFaults)("%s", async (fault) => {
    expect(await runInProcess(fault, 11)).toMatchObject({ fault, complaints: [] })
  })

  it.concurrent.each(["SIGKILL", "SIGSTOP", "coordinator SIGKILL", "coordinator SIGSTOP", "SIGKILL over files"] as const)("%s", async (fault) => {
    expect(await runProcesses(fault, 5)).toMatchObject({ fault, complaints: [] })
  })
})
