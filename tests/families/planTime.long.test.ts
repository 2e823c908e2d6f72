/** Planning reads headers only, and a model of 100 000 tensors is planned in seconds and a few hundred MB. */
import { expect, it } from "vitest"
import { measured } from "../measure/measured.ts"

const PROGRAM = new URL("./planning.ts", import.meta.url).pathname

/** What is printed by a process with so many MiB of heap. */
const planned = (step: "import" | "export", heapMb: number): unknown => {
  const { cpuMs, status, stderr, stdout } = measured(PROGRAM, heapMb, [step])
  expect(status, stderr.slice(0, 2000)).toBe(0)
  // About 5 and 10 seconds.
  expect(cpuMs).toBeLessThan(60_000)
  return JSON.parse(stdout)
}

it("the import of 100 000 tensors of 65 layers of 512 experts", () => {
  expect(planned("import", 400)).toEqual({ tensors: 100_428, sourceTensors: 100_428 })
})

it("their export: the index of the checkpoint, the plan, the files, with the import's plan still in memory", () => {
  expect(planned("export", 600)).toEqual({
    tensors: 100_428,
    sourceTensors: 100_428,
    objects: 66_887,
    lost: 0,
    targetTensors: 100_428,
    copies: 100_690
  })
})
