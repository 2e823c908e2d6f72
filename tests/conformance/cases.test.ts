/** The committed facts: every stored key, shape, dtype, hash and chunk as the reference system wrote them, and the way back. */
import { Effect } from "effect"
import { expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { runCase } from "../../src/conformance/Runner.ts"
import { Disk } from "../../src/io/Disk.ts"
import { caseNames, loadCase } from "./cases.ts"

it.each(caseNames)("%s", async (name) => {
  const result = await Effect.runPromise(runCase(families, loadCase(name)).pipe(Effect.provide(Disk.layer)))
  expect(result).toMatchObject({ status: "passed" })
}, 30_000)
