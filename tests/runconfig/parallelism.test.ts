/** A layout that is written to a run configuration is read back from it, field by field. */
import { expect, it } from "vitest"
import { GPT_PROVIDER } from "../../src/runconfig/classes.ts"
import { freshRunConfig } from "../../src/runconfig/freshRunConfig.ts"
import { readParallelism } from "../../src/runconfig/parallelism.ts"
import { parseRunConfig, sectionAt } from "../../src/runconfig/RunConfigFile.ts"

const provider = { target: GPT_PROVIDER, fields: {} }
const parallelism = { tp: 2, pp: 3, dp: 5, cp: 7, ep: 11, etp: 13, rankOffset: 17 }
const written = (form: "standard" | "mimo") => parseRunConfig(Buffer.from(freshRunConfig(provider, [{ name: "language", parallelism }], form)))

it("a MIMO component has every field", () => {
  const component = sectionAt(written("mimo"), "model", "megatron_mimo_parallelism_config", "module_parallelisms", "language")!
  expect(readParallelism(component)).toEqual(parallelism)
})

it("a standard model has its sizes; data parallelism and the first rank are the launcher's", () => {
  expect(readParallelism(sectionAt(written("standard"), "model")!)).toEqual({ ...parallelism, dp: 1, rankOffset: 0 })
})

it("what a section does not name is 1", () => {
  expect(readParallelism({})).toEqual({ tp: 1, pp: 1, dp: 1, cp: 1, ep: 1, etp: 1, rankOffset: 0 })
})
