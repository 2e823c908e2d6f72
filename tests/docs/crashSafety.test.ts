/** What docs/crash-safety.md says is held by the tests that it names. */
import { readFileSync } from "node:fs"
import { expect, it } from "vitest"

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8")

it("every test that docs/crash-safety.md names is there", () => {
  const rows = [...read("docs/crash-safety.md").matchAll(/^\| .* \| `(tests\/[^`]+)`: (.*) \|$/gm)]
  expect(rows.length).toBeGreaterThan(40)
  const missing = rows.filter(([, file, title]) => !read(file!).includes(`("${title}"`)).map(([, file, title]) => `${file}: ${title}`)
  expect(missing).toEqual([])
})
