/** Names of the library that documents call are names of the library. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, it } from "vitest"
import * as familyToolkit from "../../routes/toolkit.ts"
import * as library from "../../src/index.ts"
import * as safetensors from "../../src/safetensors/index.ts"

const root = new URL("../..", import.meta.url).pathname
const read = (path: string): string => readFileSync(join(root, path), "utf8")
const pages = ["README.md", ...readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md")).map((name) => join("docs", name))]
const ENTRIES: Readonly<Record<string, object>> = { "megatron-mimo-bridge": library, "megatron-mimo-bridge/safetensors": safetensors, "megatron-mimo-bridge/family": familyToolkit }

it("what a document imports is exported", () => {
  const missing = pages.flatMap((path) => [...read(path).matchAll(/^import (type )?\{([^}]+)\} from "(megatron-mimo-bridge[^"]*)"/gm)].flatMap(([, type, names, entry]) =>
    type ? [] : names!.split(",").map((name) => name.trim()).filter((name) => !name.startsWith("type ") && !(name in (ENTRIES[entry!] ?? {}))).map((name) => `${path}: ${name} of ${entry}`)))
  expect(missing).toEqual([])
})

it("what docs/migration.md calls here is exported", () => {
  const tables = read("docs/migration.md").split("## Python names")[1]!.split("\n## ")[0]!
  const rows = [...tables.matchAll(/^\| (.*) \| (.*) \|$/gm)].map(([, , here]) => here!)
  const names = new Set(rows.flatMap((here) => [...here.matchAll(/`([A-Za-z]\w*)(?=[.(`])/g)].map(([, name]) => name!)))
  const words = new Set(["roundtrip", "components", "hfModel", "run_config"])
  expect(names.size).toBeGreaterThan(8)
  expect([...names].filter((name) => !(name in library) && !words.has(name))).toEqual([])
})

it("links between documents lead somewhere", () => {
  const linked = [...pages, "docs/schemas/README.md"].flatMap((path) =>
    [...read(path).replaceAll(/```[^]*?```/g, "").matchAll(/\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, to]) => [path, to!] as const))
  expect(linked.length).toBeGreaterThan(40)
  expect(linked.filter(([path, to]) => !existsSync(join(root, path, "..", to)))).toEqual([])
})

it("every document is in the one index", () => {
  const index = read("docs/README.md")
  expect(readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md") && name !== "README.md" && !index.includes(`(${name})`))).toEqual([])
  expect(read("README.md")).toContain("(docs/README.md)")
})
