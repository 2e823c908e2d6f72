/** Adapters that are incomplete, or of another model, are refused by name (codes `adapter/…`). */
import { Effect } from "effect"
import { expect, it } from "vitest"
import { prepareAdapterExport } from "../../src/api/adapters.ts"
import { Disk } from "../../src/io/Disk.ts"

const FACTS = new URL("../fixtures/adapters/", import.meta.url).pathname

it("a prefix that excludes every adapter leaves none to write", async () => {
  const error = await Effect.runPromise(Effect.flip(prepareAdapterExport(`${FACTS}bridge-lora-tp1/base-hf`, `${FACTS}bridge-lora-tp1/checkpoint/iter_0000001`, { alpha: 6, exclude: ["decoder."] })).pipe(Effect.provide(Disk.layer)))
  expect(error.code).toBe("adapter/none")
})
