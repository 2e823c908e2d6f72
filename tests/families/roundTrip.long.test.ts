/** Toys without a conformance case: Hugging Face → Megatron → Hugging Face gives the same files, standard and as MIMO. */
import { Effect } from "effect"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, it } from "vitest"
import { families } from "../../routes/index.ts"
import { writeHfCheckpoint } from "../../src/conformance/HfCheckpoint.ts"
import { prepareExport } from "../../src/convert/prepareExport.ts"
import { prepareImport } from "../../src/convert/prepareImport.ts"
import type { Form } from "../../src/mimo/routing.ts"
import { Disk } from "../../src/io/Disk.ts"
import { resolveLayout, standardLayout } from "../../src/parallel/Layout.ts"
import { noHeaders } from "../../src/space/HfSource.ts"
import { toys } from "./toys.ts"
import { caseNames } from "../conformance/cases.ts"

const work = mkdtempSync(join(tmpdir(), "families-"))
afterAll(() => rmSync(work, { recursive: true }))

const isMimo = (config: Record<string, unknown>): boolean => {
  const family = families.find(config)
  return family.describe(family.schema.parse(config), noHeaders).components.length > 0
}

const cases = new Set<string>(caseNames)
const forms = toys.filter((toy) => !cases.has(toy.name)).flatMap((toy) =>
  (isMimo(toy.config) ? ["standard", "mimo"] : ["standard"]).map((form) => [`${toy.name} (${form})`, toy, form as Form] as const))

// Most of the time goes into waiting for the disk.
describe.concurrent.each(forms)("%s", (name, toy, form) => {
  it("round-trips byte for byte", async ({ expect }) => {
    const directory = join(work, name.replace(/\W/g, "-"))
    const [hf, megatron, exported] = ["hf", "megatron", "exported"].map((d) => join(directory, d)) as [string, string, string]
    await Effect.runPromise(Effect.gen(function*() {
      const disk = yield* Disk
      yield* Effect.promise(() => disk.makeDirectory(directory))
      yield* writeHfCheckpoint({ weights: { scheme: "fnv1a-murmur3-1", fp32Islands: true }, hf: { config: toy.config, configText: toy.configText, tensors: [...toy.tensors] } }, hf)
      const options = { torchDtype: "source", mtp: "keep", allowUnmapped: [] } as const
      const layout = (names: ReadonlyArray<string>) => (form === "mimo" ? resolveLayout([], names) : standardLayout({}))
      yield* (yield* prepareImport(families, hf, { ...options, form, layout, step: 0 })).run(megatron, { overwrite: false })
      yield* (yield* prepareExport(families, hf, megatron, options)).run(exported, { overwrite: false })
    }).pipe(Effect.provide(Disk.layer)))
    expect(readdirSync(exported).sort()).toEqual(readdirSync(hf).sort())
    for (const file of readdirSync(hf)) expect(readFileSync(join(exported, file)).equals(readFileSync(join(hf, file))), file).toBe(true)
  })
})
