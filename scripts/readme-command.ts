/** Print the n-th command of the README's first code block, so that CI runs exactly what a reader would. */
import { readFileSync } from "node:fs"

const block = /```bash\n([\s\S]*?)```/.exec(readFileSync(new URL("../README.md", import.meta.url), "utf8"))?.[1] ?? ""
const commands = block.split("\n").filter((line) => line !== "" && !line.startsWith("#"))
const command = commands[Number(process.argv[2]) - 1]
if (command === undefined) throw new Error(`README.md has no command number ${process.argv[2]}`)
console.log(command)
