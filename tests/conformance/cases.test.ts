/**
 * The committed facts: every stored key, shape, dtype, hash and chunk as the reference system wrote them, and the way back: every
 * tensor has the source's bytes, those too that the reference loses or changes.
 */
import { Effect } from "effect"
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { runCase } from "../../src/conformance/Runner.ts"
import { Disk } from "../../src/io/Disk.ts"
import { caseNames, loadCase } from "./cases.ts"
import { LOSSES, lossesOf } from "./losses.ts"

const titled = caseNames.map((name) => [LOSSES[name] ? `${name} (by the reference: ${LOSSES[name].join("; ")})` : name, name] as const)

it.each(titled)("%s", async (_, name) => {
  const known = loadCase(name)
  const result = await Effect.runPromise(runCase(families, known).pipe(Effect.provide(Disk.layer)))
  expect(result).toMatchObject({ status: "passed" })
  expect(lossesOf(known)).toEqual(LOSSES[name] ?? [])
}, 30_000)

it("the losses are of cases that are here", () => {
  expect(Object.keys(LOSSES).filter((name) => !caseNames.includes(name))).toEqual([])
})
