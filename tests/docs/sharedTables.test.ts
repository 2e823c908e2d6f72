/** docs/adding-a-family.md describes what routes/shared has. */
import { readdirSync, readFileSync } from "node:fs"
import { expect, it } from "vitest"
import * as blocks from "../../routes/shared/blocks.ts"

const shared = new URL("../../routes/shared/", import.meta.url)
const page = readFileSync(new URL("../../docs/adding-a-family.md", import.meta.url), "utf8")
const named = new Set([...page.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!.replace(/[(\s].*$/, "")))

it("every file of routes/shared", () => {
  const files = readdirSync(shared).filter((name) => name.endsWith(".ts"))
  expect(files.filter((name) => !named.has(name) && !named.has(name.replace(".ts", "")))).toEqual([])
})

it("every tower", () => {
  const towers = readdirSync(new URL("towers/", shared)).filter((name) => name !== "index.ts").map((name) => name.replace(".ts", ""))
  expect(towers.filter((name) => !named.has(name))).toEqual([])
})

it("every table of a layer", () => {
  const rowsOfTowers = ["visionBlock", "visionFrame", "patchMergerRows"]
  expect(Object.keys(blocks).filter((name) => !named.has(name) && !rowsOfTowers.includes(name))).toEqual([])
})
