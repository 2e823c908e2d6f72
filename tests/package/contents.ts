/** `node tests/package/contents.ts TARBALL_FOLDER`: what the published package holds, and that every link in its documents leads somewhere in it. */
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative } from "node:path"

const root = process.argv[2]!
const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => relative(root, join(e.parentPath, e.name)))
const problems: Array<string> = []

for (const needed of ["LICENSE", "README.md", "CHANGELOG.md", "package.json", "dist/bin.js", "dist/index.js", "dist/safetensors.js", "dist/family.js", "dist/types/src/index.d.ts", "docs/cli.md", "docs/schemas/import.json", "man/convert_megatron_mimo.1", "examples/round-trip.sh", "examples/pipeline-promises.ts", "src/safetensors/README.md", "docs/api/README.md"]) {
  if (!files.includes(needed)) problems.push(`${needed} is missing`)
}
for (const file of files) if (!/^(dist|docs|examples|man)\/|^src\/safetensors\/README\.md$|^[A-Z]+(\.md)?$|^package\.json$/.test(file)) problems.push(`${file} should not be there`)

/** `[text](target)` outside of code; a target may have an anchor. */
const LINK = /\[[^\]]*\]\(([^)\s]+)\)/g
for (const file of files.filter((name) => name.endsWith(".md"))) {
  const text = readFileSync(join(root, file), "utf8").replaceAll(/```[\s\S]*?```/g, "")
  for (const [, target] of text.matchAll(LINK)) {
    if (/^[a-z]+:|^#/.test(target!)) continue
    const path = join(root, dirname(file), target!.replace(/#.*/, ""))
    if (!existsSync(path)) problems.push(`${file}: ${target} leads nowhere in the package`)
  }
}

const described = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly [field: string]: unknown
}
for (const field of ["repository", "homepage", "bugs", "keywords", "license", "engines"]) if (described[field] === undefined) problems.push(`package.json has no ${field}`)
for (const targets of Object.values(described.exports)) {
  for (const target of typeof targets === "string" ? [targets] : Object.values(targets)) if (!existsSync(join(root, target))) problems.push(`package.json: ${target} is not there`)
}

/** What a module imports, with what its chunks import. */
const imports = (file: string, seen = new Set<string>()): ReadonlySet<string> => {
  for (const [, from, bare] of readFileSync(file, "utf8").matchAll(/^(?:import|export)\b[^;]*?from "([^"]+)"|^import "([^"]+)"/gm)) {
    const other = (from ?? bare)!
    const path = other.startsWith(".") ? join(dirname(file), other) : other
    if (seen.has(path)) continue
    seen.add(path)
    if (other.startsWith(".")) imports(path, seen)
  }
  return seen
}
for (const other of imports(join(root, "dist/safetensors.js"))) if (!other.startsWith(root)) problems.push(`dist/safetensors.js imports ${other}: browsers have no such thing`)

for (const problem of problems) console.error(problem)
console.log(`package: ${files.length} files, ${problems.length} problems`)
process.exitCode = problems.length > 0 ? 1 : 0
