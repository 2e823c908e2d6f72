import { describe, expect, it } from "vitest"
import { PyTensor } from "../../src/torch/PyValue.ts"
import type { PyValue } from "../../src/torch/PyValue.ts"
import { saveArchive } from "../../src/torch/SaveArchive.ts"
import { readTrainState, trainStateFile, untrained } from "../../src/torch/TrainState.ts"
import { codeOf, fixture } from "./tools.ts"

const file = (...entries: ReadonlyArray<readonly [string, PyValue]>) => saveArchive("train_state", new Map<PyValue, PyValue>(entries))
const step = (data: Uint8Array, dtype: "I64" | "F64" | "I16" = "I64", shape: ReadonlyArray<number> = []) =>
  file(["step", new PyTensor(dtype, shape, data)])

describe("train_state.pt", () => {
  it("of a converted checkpoint is what torch 2.13 writes", () => {
    expect(Buffer.from(trainStateFile(untrained()))).toEqual(fixture("train_state.pt"))
  })

  it("reads back as it was written", () => {
    const state = {
      step: 1000, consumedTrainSamples: 2 ** 40, skippedTrainSamples: 1, consumedValidSamples: 2,
      floatingPointOperationsSoFar: 1.5, doTrain: true, doValid: false, doTest: true
    }
    expect(readTrainState(trainStateFile(state))).toEqual(state)
    expect(readTrainState(fixture("train_state.pt"))).toEqual(untrained(0))
  })

  it("takes missing fields as zero, but not a missing step", () => {
    expect(readTrainState(step(new Uint8Array(BigInt64Array.of(5n).buffer)))).toEqual(untrained(5))
    expect(codeOf(() => readTrainState(file()))).toBe("torch/train-state")
  })

  it.each([
    ["a negative count", step(new Uint8Array(BigInt64Array.of(-1n).buffer))],
    ["a count beyond 2^53", step(new Uint8Array(BigInt64Array.of(2n ** 60n).buffer))],
    ["a vector", step(new Uint8Array(16), "I64", [2])],
    ["a dtype that counts nothing", step(new Uint8Array(2), "I16")],
    ["a list", saveArchive("train_state", [])]
  ])("torch/train-state: %s", (_what, bytes) => {
    expect(codeOf(() => readTrainState(bytes))).toBe("torch/train-state")
  })
})
