/** The table that `models` prints is of all architectures, and nothing in it is only one way. */
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { verified } from "../../routes/verified.ts"
import { verification } from "../../src/bridge/Support.ts"

it("every architecture is in the table, in both directions", () => {
  expect(verified.map((s) => s.architecture).sort()).toEqual(families.architectures)
  expect(verified.filter((s) => !s.import || !s.export)).toEqual([])
})

it("cases are told from round trips", () => {
  const known = { ...verified[0]!, cases: 3, mimoCases: 2, roundTrips: 1 }
  expect(verification(known)).toBe("3 cases (2 MIMO), round trip")
  expect(verification({ ...known, cases: 1, mimoCases: 0, roundTrips: 0 })).toBe("1 case")
  expect(verification({ ...known, cases: 0 })).toBe("round trip")
})
