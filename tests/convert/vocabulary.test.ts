/** The vocabulary: padded by an import as the trainer pads it, cut by an export only where nothing says that the rows are real. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { openCheckpoint } from "../../src/checkpoint/Checkpoint.ts"
import { paddedVocabulary } from "../../src/convert/vocabulary.ts"
import { AutoBridge, Disk } from "../../src/index.ts"
import { tinyModel } from "./tinyModel.ts"

const work = mkdtempSync(join(tmpdir(), "vocabulary-"))
const run = <A, E>(effect: Effect.Effect<A, E, Disk>) => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))
let number = 0
const fresh = () => join(work, `${number++}`)
afterAll(() => rmSync(work, { recursive: true }))

const importWith = async (vocabulary: number, tp: number, tied = false) => {
  const [hf, megatron] = [fresh(), fresh()]
  await tinyModel(hf, { vocabulary, tied, heads: 8, groups: 8 })
  const bridge = await run(AutoBridge.fromHfPretrained(hf, { tp }))
  const report = await run(bridge.importCheckpoint(megatron))
  return { hf, megatron, bridge, report, config: readFileSync(join(megatron, "iter_0000000", "run_config.yaml"), "utf8") }
}

describe("an import", () => {
  // calculate_padded_vocab_size of Megatron-LM, run.
  it.each([[250, 2, 4, 256], [250, 128, 4, 512], [151_665, 1, 8, 151_672], [32_003, 128, 8, 32_768], [256, 128, 1, 256]])(
    "pads %i rows to a multiple of %i × %i: %i", (size, divisibleBy, tp, rows) => {
      expect(paddedVocabulary(size, divisibleBy, tp)).toBe(rows)
    })

  it("pads what tp does not divide, in equal chunks, and the run configuration leads to the same rows", async () => {
    const { bridge, config, hf, megatron, report } = await importWith(250, 4)
    expect(report.vocabulary).toEqual({ size: 250, rows: 256, divisibleBy: 2, tp: 4 })
    expect(report.notes).toContain(
      "vocabulary: 250 → 256 rows, padded as the trainer pads it to a multiple of make_vocab_size_divisible_by × tp = 2 × 4; the 6 added rows are zero")
    for (const line of ["vocab_size: 250", "make_vocab_size_divisible_by: 2", "should_pad_vocab: true"]) expect(config).toContain(`  ${line}\n`)
    const { tensors } = await run(openCheckpoint(megatron))
    for (const key of ["embedding.word_embeddings.weight", "output_layer.weight"]) {
      expect(tensors.get(key)!.shape).toEqual([256, 16])
      expect(tensors.get(key)!.chunks.map((c) => c.sizes)).toEqual(Array.from({ length: 4 }, () => [64, 16]))
    }
    const exported = fresh()
    await run(bridge.exportCheckpoint(megatron, exported))
    expect(readFileSync(join(exported, "model.safetensors")).equals(readFileSync(join(hf, "model.safetensors")))).toBe(true)
  })

  it("pads with more rows than there are, and with zeros", async () => {
    const { megatron, report } = await importWith(3, 8, true)
    expect(report.vocabulary).toEqual({ size: 3, rows: 8, divisibleBy: 1, tp: 8 })
    const checkpoint = await run(openCheckpoint(megatron))
    const { chunks } = checkpoint.tensors.get("embedding.word_embeddings.weight")!
  })

  it("changes nothing where tp divides the vocabulary", async () => {
    const { config, report } = await importWith(250, 2)
    expect(report.vocabulary).toBeUndefined()
    expect(report.notes).toEqual([])
    expect(config).not.toContain("should_pad_vocab")
  })
})
