/** Every verb over every toy model whose name contains an argument (all without one): `npm run verbs -- internvl`. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { toys } from "./toys.ts"
import { everyVerb, memoryDirectory } from "./verbs.ts"

const wanted = process.argv.slice(2)
const work = memoryDirectory("verbs")
let failed = 0
const chosen = toys.filter(({ name }) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
for (const toy of chosen) {
  const directory = join(work, toy.name.replace(/\W/g, "-"))
  try {
    await everyVerb(toy, directory)
  } catch (error) {
    failed++
    console.error(`${toy.name}: ${(error as Error).message}`)
  }
  rmSync(directory, { recursive: true, force: true })
}
rmSync(work, { recursive: true })
console.log(`${chosen.length - failed} of ${chosen.length} models: every verb agrees`)
process.exitCode = failed === 0 ? 0 : 1
