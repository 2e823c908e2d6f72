/** The table that `models` prints is of all architectures, and nothing in it is only one way. */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { verified } from "../../routes/verified.ts"
import { verification } from "../../src/bridge/Support.ts"
import { caseNames, loadCase } from "../conformance/cases.ts"
import { trainedCheckpoints } from "../conformance/training.ts"
import { interopRecord, proofs } from "../proofs.ts"

it("every architecture is in the table, in both directions", () => {
  expect(verified.map((s) => s.architecture).sort()).toEqual(families.architectures)
  expect(verified.filter((s) => !s.import || !s.export)).toEqual([])
})

it("what is said to be proven is what the tests show", () => {
  const proofsOf = proofs()
  const byArchitecture = Map.groupBy(caseNames.map(loadCase), (c) => c.architecture)
  for (const { architecture, cases, forward, gpu, mimoCases, refusedByReference, transformers } of verified) {
    const known = byArchitecture.get(architecture) ?? []
    const compared = known.filter((c) => c.megatron !== undefined)
    expect({ architecture, cases, mimoCases, refusedByReference, gpu, transformers, forward }).toEqual({
      architecture,
      cases: compared.length,
      mimoCases: compared.filter((c) => c.import.mode === "mimo").length,
      refusedByReference: known.length - compared.length,
      ...proofsOf(architecture)
    })
  }
})

it("the record names what is here", () => {
  const { bytes, logits, trained } = interopRecord()
  const known = new Set(families.architectures)
  expect([...bytes, ...logits, ...Object.values(trained)].filter((name) => !known.has(name))).toEqual([])
  expect(logits.filter((name) => !bytes.includes(name))).toEqual([])
  for (const [name] of trainedCheckpoints) expect(Object.keys(trained)).toContain(name)
})

it("kinds of proof are told apart", () => {
  const known = { ...verified[0]!, cases: 3, mimoCases: 2, roundTrips: 1, gpu: ["tp2"], transformers: "logits" as const, forward: true }
  expect(verification(known)).toBe("3 cases (2 MIMO), 1 from GPUs, logits, forward, round trip")
  expect(verification({ ...known, cases: 1, mimoCases: 0, roundTrips: 0, gpu: [], transformers: null, forward: false })).toBe("1 case")
  expect(verification({ ...known, cases: 0, gpu: [], transformers: "bytes", forward: false })).toBe("bytes, round trip")
})
