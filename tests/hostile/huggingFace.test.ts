/** Hugging Face directories from strangers: every broken one is refused in words, every unusual one survives to the bit. */
import { describe, it } from "vitest"
import { isGoodModel, isRefused, namesPlaces, type World } from "./check.ts"
import { hfBadConfigs } from "./corpus/hfBadConfigs.ts"
import { hfBadFiles } from "./corpus/hfBadFiles.ts"
import { hfBadHeaders } from "./corpus/hfBadHeaders.ts"
import { hfBadIndexes } from "./corpus/hfBadIndexes.ts"
import { hfBadModels } from "./corpus/hfBadModels.ts"
import { hfGood } from "./corpus/hfGood.ts"
import { soundOf, workFolder } from "./run.ts"

const work = workFolder("hostile-hf")
const world: World = { work, sound: await soundOf(work), places: { byte: 0, named: 0, without: [] } }

const bad = [...hfBadFiles, ...hfBadHeaders, ...hfBadIndexes, ...hfBadModels, ...hfBadConfigs]

describe("a Hugging Face directory is refused", () => {
  it.each(bad.flatMap((c) => c.commands.map((command) => [c.id, command, c] as const)))("%s, by %s", { timeout: 60_000 }, (_, command, c) =>
    isRefused(world, "hf", command, c))

  it("with the byte at which it is wrong", () => namesPlaces(world))
})

describe("a Hugging Face directory is accepted", () => {
  it.each(hfGood.map((c) => [c.id, c] as const))("%s", { timeout: 60_000 }, (_, c) => isGoodModel(world, c))
})
