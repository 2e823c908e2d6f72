/** Every error code that the source can raise is in the catalogue, and nothing else; the page is what the catalogue says. */
import { readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { catalogue } from "../scripts/errorCatalogue.ts"
import { errorCodes } from "../scripts/errorCodes.ts"
import { errorsPage, page } from "../scripts/errors.ts"

const raised = errorCodes()
const listed = new Set(catalogue.flatMap(({ codes, prefix }) => Object.keys(codes).map((code) => prefix + code)))

describe("the error catalogue", () => {
  it("explains every code that is raised", () => {
    expect([...raised].filter(([code]) => !listed.has(code)).map(([code, files]) => `${code} (${files.join(", ")}): add it to scripts/errorCatalogue.ts`)).toEqual([])
  })

  it("explains no code that is not", () => {
    expect([...listed].filter((code) => !raised.has(code))).toEqual([])
  })

  it.each(catalogue.map(({ heldBy, prefix }) => [prefix, heldBy] as const))("%s: tests are named, and speak of these errors", (prefix, heldBy) => {
    const texts = heldBy.map((file) => readFileSync(new URL(`../${file}`, import.meta.url), "utf8"))
    expect(heldBy.length).toBeGreaterThan(0)
    expect(texts.some((text) => text.includes(prefix.slice(0, -1)))).toBe(true)
  })

  it("is what docs/errors.md says", () => {
    expect(readFileSync(page, "utf8"), "run `node scripts/errors.ts`").toBe(errorsPage())
  })
})
