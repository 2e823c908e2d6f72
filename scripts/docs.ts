/**
 * Generate docs/cli.md from the commands' own help, docs/models.md and routes/verified.ts from the test models,
 * docs/schemas from the schemas of what `--json` prints, the man page from the help. `--check` fails if a
 * committed file is not what would be written.
 */
import { execFileSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { commandWords } from "../src/cli/root.ts"
import { exitCodes } from "./exitCodes.ts"
import { manPage } from "./man.ts"
import { modelsPage, support, verifiedModule } from "./models.ts"
import { schemaPages } from "./schemas.ts"

const bin = new URL("../src/cli/bin.ts", import.meta.url).pathname

const help = (...command: ReadonlyArray<string>): string =>
  execFileSync(process.execPath, [bin, ...command, "--help"], { encoding: "utf8", env: { ...process.env, NO_COLOR: "1", COLUMNS: "80" } }).trimEnd()

const text = `# Command line reference

Generated from the commands themselves by \`npm run docs\`; do not edit.

| exit code | |
| --- | --- |
${exitCodes.map(([code, meaning]) => `| ${code} | ${meaning} |`).join("\n")}

With \`--json\` the result, or the error,
is one JSON document on stdout ([schemas](schemas/README.md)) with \`ok\`, \`command\`, \`schema\` and \`exitCode\`; \`ok\` is true where a comparison
was made, whatever it found.

\`\`\`text
${help()}
\`\`\`
${(await commandWords()).map((words) => `\n## ${words.join(" ")}\n\n\`\`\`text\n${help(...words)}\n\`\`\`\n`).join("")}`

const all = support()
const at = (path: string) => new URL(`../${path}`, import.meta.url)
const pages = [["docs/cli.md", text], ["docs/models.md", modelsPage(all)], ["routes/verified.ts", verifiedModule(all)], ...schemaPages, ["man/convert_megatron_mimo.1", await manPage()]] as const

for (const [path, content] of pages) {
  if (!process.argv.includes("--check")) writeFileSync(at(path), content)
  else if (readFileSync(at(path), "utf8") !== content) {
    console.error(`${path} is not current: run \`npm run docs\``)
    process.exitCode = 1
  }
}
