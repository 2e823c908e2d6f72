/** The tiny sample, imported; and an engine that has far less memory than the sample has bytes. */
import { join } from "node:path"
import { beforeAll } from "vitest"
import { importCheckpoint } from "../../src/index.ts"
import { fresh, sampleModel, workDirectory } from "../relabel/checkpoints.ts"

/** Blocks of 16 KiB, one at a time. */
export const BLOCK = 16 << 10
export const SMALL = { maxMemory: 1, concurrency: 1, io: "buffered", sizes: { block: BLOCK, read: BLOCK, work: 4 * BLOCK } } as const

/** Both are there when the tests of the file begin. */
export const importedSample = (name: string) => {
  const work = workDirectory(name)
  const [hf, megatron] = [join(work, "hf-qwen3.5-vl"), fresh(work)]
  const model = () => ({ hfModel: hf, components: ["language=tp=2", "images=tp=1"] })
  beforeAll(async () => {
    await sampleModel(work)
    await importCheckpoint(model(), megatron)
  })
  return { work, hf, megatron, model }
}
