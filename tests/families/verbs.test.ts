/** Every verb over a few models, one of each kind of difficulty; `npm run verbs` takes all of them. */
import { rmSync } from "node:fs"
import { join } from "node:path"
import { afterAll, describe, it } from "vitest"
import { toys } from "./toys.ts"
import { everyVerb, memoryDirectory } from "./verbs.ts"

const work = memoryDirectory("verbs")
afterAll(() => rmSync(work, { recursive: true, force: true }))

const sample = [
  // Projectors beside their encoder, under a provider class that other families share.
  "internvl-qwen2", "glm-4.1v",
  // A component that not every model has; two projectors.
  "gemma-4-omni", "minimax-m3-published",
  // Multi-token prediction and carried tensors beside components.
  "qwen3.5-vl-tied-a",
  // Layers that differ, experts that are packed.
  "llama-nemotron-a", "gpt-oss-a"
]

describe.each(toys.filter(({ name }) => sample.includes(name)).map((toy) => [toy.name, toy] as const))("%s", (name, toy) => {
  it("every verb agrees about it", async () => {
    const directory = join(work, name.replace(/\W/g, "-"))
    await everyVerb(toy, directory)
    rmSync(directory, { recursive: true })
  })
})
