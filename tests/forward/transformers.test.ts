/** Logits of toys of many families are those of transformers; a Megatron checkpoint of them gives the same bits. */
import { Effect } from "effect"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { families } from "../../routes/index.ts"
import { openArithmetic } from "../../src/arithmetic/open.ts"
import { openMegatronDecoder } from "../../src/forward/openDecoder.ts"
import { importCheckpoint } from "../../src/index.ts"
import { Disk } from "../../src/io/Disk.ts"
import { distance, hfLogits, logitsOf } from "./runToy.ts"
import { KEPT, TOKENS, toyNames, writeToy } from "./toys.ts"

const work = mkdtempSync(join(tmpdir(), "forward-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))
beforeAll(async () => {
  for (const name of toyNames) await writeToy(name, join(work, name))
})

const KNOWN = JSON.parse(readFileSync(new URL("logits.json", import.meta.url), "utf8")) as Readonly<Record<string, string>>

const known = (name: string): Float32Array => {
  const bytes = Buffer.from(KNOWN[name]!, "base64")
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}

const megatronLogits = (path: string, hfModel?: string) =>
  Effect.runPromise(openMegatronDecoder(families, path, hfModel).pipe(Effect.flatMap((decoder) => logitsOf(decoder, TOKENS)), Effect.provide(Disk.layer)))

describe("logits", () => {
  it("are known of every toy", () => {
    expect(Object.keys(KNOWN).sort()).toEqual([...toyNames])
  })

  // 2e-6 measured; what is computed otherwise than in transformers changes them by more than a thousandth.
  it.each(toyNames)("%s: as transformers computes them", async (name) => {
    const ours = await hfLogits(join(work, name), TOKENS)
    expect(distance(ours.slice(-known(name).length), known(name))).toBeLessThan(2e-5)
    expect(known(name).length).toBe((ours.length / TOKENS.length) * KEPT)
  })

  it.each(["qwen3-yarn", "deepseek-v3-yarn", "gpt-oss-window"])("%s: whoever multiplies", async (name) => {
    const ours = await hfLogits(join(work, name), TOKENS, await openArithmetic("tfjs"))
    expect(distance(ours.slice(-known(name).length), known(name))).toBeLessThan(2e-5)
  })

  it("without a Hugging Face model: as the checkpoint describes itself", async () => {
    const hfModel = join(work, "qwen3-yarn")
    const megatron = join(work, "described.megatron")
    await importCheckpoint({ hfModel, standard: true }, megatron, { checksum: false })
    expect(await megatronLogits(megatron)).toEqual(await hfLogits(hfModel, TOKENS))
  })

  it.each(["qwen3-vl-moe", "gemma3-vl", "glm-4.1v"])("%s: so does the language component of a MIMO one", async (name) => {
    const hfModel = join(work, name)
    const megatron = join(work, `${name}.megatron`)
    await importCheckpoint({ hfModel, components: ["language=tp=2", "images=tp=1"] }, megatron, { checksum: false })
    expect(await megatronLogits(megatron, hfModel)).toEqual(await hfLogits(hfModel, TOKENS))
  })

  it.each(["qwen3-yarn", "deepseek-v3-yarn", "gpt-oss-window", "gemma2-window", "bailing-moe-v2"])("%s: a Megatron checkpoint gives the same bits", async (name) => {
    const hfModel = join(work, name)
    const megatron = join(work, `${name}.megatron`)
    await importCheckpoint({ hfModel, standard: true, tp: 2, pp: 2 }, megatron, { checksum: false })
    expect(await megatronLogits(megatron, hfModel)).toEqual(await hfLogits(hfModel, TOKENS))
  })
})
