import { expect, it } from "vitest"
import { z } from "zod"
import { family, type ModelDescription, redescribed } from "../../src/bridge/Family.ts"

it("a family described further keeps every slot, and its schema is made once, when it is asked for", () => {
  let made = 0
  const own = family({
    name: "toy",
    architectures: ["ToyForCausalLM"],
    config: () => {
      made++
      return z.looseObject({ hidden_size: z.int() })
    },
    mimo: [],
    impliedConfig: () => undefined,
    describe: () => { throw new Error("not asked") }
  })
  const description = { notes: ["further"] } as unknown as ModelDescription
  const twice = redescribed(redescribed(own, () => description), () => description)
  expect(Object.keys(twice).sort()).toEqual(Object.keys(own).sort())
  expect([twice.name, twice.impliedConfig, twice.describe({}, { names: [], tensor: () => undefined })]).toEqual(["toy", own.impliedConfig, description])
  expect(made).toBe(0)
  expect([twice.schema, twice.schema]).toEqual([own.schema, own.schema])
  expect(made).toBe(1)
})
