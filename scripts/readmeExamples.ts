/** Documents quote examples that are programs: the fence after `<!-- FILE -->` is that file. `--check` fails if one is not. */
import { readFileSync, writeFileSync } from "node:fs"

const root = new URL("..", import.meta.url).pathname
export const quoting = ["src/safetensors/README.md"]

/** Without the comment that a file begins with. */
const body = (file: string): string => readFileSync(root + file, "utf8").replace(/^\/\*\*[\s\S]*?\*\/\n/, "").trim()

export const withExamples = (text: string): string =>
  text.replaceAll(/<!-- (examples\/\S+\.ts) -->\n```ts\n[\s\S]*?```/g, (_, file: string) => `<!-- ${file} -->\n\`\`\`ts\n${body(file)}\n\`\`\``)

for (const document of quoting) {
  const text = readFileSync(root + document, "utf8")
  const current = withExamples(text)
  if (current === text) continue
  if (process.argv.includes("--check")) {
    console.error(`${document} is not what its examples are; run: npm run docs`)
    process.exitCode = 1
  } else writeFileSync(root + document, current)
}
