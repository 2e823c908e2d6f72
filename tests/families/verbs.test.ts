/** Every verb over every toy model. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, it } from "vitest"
import { toys } from "./toys.ts"
import { everyVerb, memoryDirectory } from "./verbs.ts"

const work = memoryDirectory("verbs")
afterAll(() => rmSync(work, { recursive: true, force: true }))

describe.each(toys.map((toy) => [toy.name, toy] as const))("%s", (name, toy) => {
  it("every verb agrees about it", async () => {
    const directory = join(work, name.replace(/\W/g, "-"))
    await everyVerb(toy, directory)
    rmSync(directory, { recursive: true })
  })
})
