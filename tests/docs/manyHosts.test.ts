/** Every line of the failure table names tests that are there. */
import { existsSync, readFileSync } from "node:fs"
import { describe, expect, it } from "vitest"
import { inProcessFaults, processFaults } from "../cluster/harness/faults.ts"

const at = (path: string) => new URL(`../../${path}`, import.meta.url)
const page = readFileSync(at("docs/many-hosts.md"), "utf8")
const rows = page.slice(page.indexOf("| what happens |")).split("\n").slice(2)
  .filter((line, index, lines) => line.startsWith("|") && lines.slice(0, index).every((before) => before.startsWith("|")))
  .map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()))

describe("docs/many-hosts.md", () => {
  it("has a table of failures", () => {
    expect(rows.length).toBeGreaterThan(12)
  })

  it.each(rows.map((cells) => [cells[0]!, cells[3] ?? ""]))("%s", (_, tests) => {
    const files = [...tests.matchAll(/`(tests\/[^`]+)`/g)].map(([, path]) => path!)
    expect(files.length + Number(tests.includes("npm run cluster:faults"))).toBeGreaterThan(0)
    for (const file of files) expect(existsSync(at(file)), file).toBe(true)
    // A fault of the harness, or the title of a test in one of the files named.
    const known: ReadonlyArray<string> = [...inProcessFaults, ...processFaults]
    const titles = files.map((file) => readFileSync(at(file), "utf8")).flatMap((text) => [...text.matchAll(/(?:it|describe)(?:\.each)?\([^]*?"([^"]+)"/g)].map(([, title]) => title!))
    for (const [, quoted] of tests.matchAll(/"([^"]+)"/g)) expect(known.includes(quoted!) || titles.some((title) => title.includes(quoted!)), quoted).toBe(true)
  })
})
