/** Hugging Face directories from strangers: every broken one is refused in words, every unusual one survives to the bit. */
import { describe, expect, it } from "vitest"
import { isGoodModel, isRefused, namesPlaces, type World } from "./check.ts"
import { hfBadConfigs } from "./corpus/hfBadConfigs.ts"
import { hfBadFiles } from "./corpus/hfBadFiles.ts"
import { hfBadHeaders } from "./corpus/hfBadHeaders.ts"
import { hfBadIndexes } from "./corpus/hfBadIndexes.ts"
import { hfBadModels } from "./corpus/hfBadModels.ts"
import { hfBadPickles, hfGoodPickles } from "./corpus/hfPickled.ts"
import { hfGood } from "./corpus/hfGood.ts"
import { soundOf, workFolder } from "./run.ts"

const work = workFolder("hostile-hf")
/** Codes of these cases, among others. */
const CODES = [
  "unsupported/architecture", "unsupported/recognised", "file/dangling-link", "file/link-loop", "plan/dtypes",
  "config/activation", "config/indivisible", "config/no-architecture", "config/not-an-object", "config/too-many-parts",
  "json/other-format", "safetensors/entry-not-object", "safetensors/header-empty", "safetensors/header-not-object",
  "safetensors/header-bom", "safetensors/header-control-character", "safetensors/header-depth",
  "safetensors/header-duplicate-key", "safetensors/header-lone-surrogate", "safetensors/header-number-range",
  "safetensors/header-syntax", "safetensors/header-too-large", "safetensors/header-trailing", "safetensors/header-utf8",
  "safetensors/hole", "safetensors/index-bom", "safetensors/index-depth", "safetensors/index-duplicate-key",
  "safetensors/index-non-finite", "safetensors/index-trailing", "safetensors/index-utf8", "safetensors/index-metadata",
  "safetensors/index-not-object", "safetensors/index-unlisted-tensor", "safetensors/index-weight-map",
  "safetensors/integer-too-large", "safetensors/metadata", "safetensors/missing-field", "safetensors/not-a-directory",
  "safetensors/not-an-array", "safetensors/not-unsigned", "safetensors/offset-count", "safetensors/offsets-reversed",
  "safetensors/other-format", "safetensors/size-mismatch", "safetensors/size-overflow", "safetensors/sub-byte",
  "safetensors/trailing-data", "inspect/unknown"
]

const world: World = { work, sound: await soundOf(work), places: { byte: 0, named: 0, without: [] }, codes: new Set() }

const bad = [...hfBadFiles, ...hfBadHeaders, ...hfBadIndexes, ...hfBadModels, ...hfBadConfigs, ...hfBadPickles]

describe("a Hugging Face directory is refused", () => {
  it.each(bad.flatMap((c) => c.commands.map((command) => [c.id, command, c] as const)))("%s, by %s", { timeout: 60_000 }, (_, command, c) =>
    isRefused(world, "hf", command, c))

  it("with the byte at which it is wrong", () => namesPlaces(world))

  it("for every reason that has a code of its own", () => expect(CODES.filter((code) => !world.codes.has(code))).toEqual([]))
})

describe("a Hugging Face directory is accepted", () => {
  it.each([...hfGood, ...hfGoodPickles].map((c) => [c.id, c] as const))("%s", { timeout: 60_000 }, (_, c) => isGoodModel(world, c))
})
