/** The vocabulary: padded by an import as the trainer pads it, cut by an export only where nothing says that the rows are real. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { openCheckpoint } from "../../src/space/Checkpoint.ts"
import { withVocabulary } from "../../src/plan/exportedConfig.ts"
import { paddedVocabulary } from "../../src/plan/vocabulary.ts"
import { AutoBridge, Disk } from "../../src/index.ts"
import { readSafetensors } from "../../src/safetensors/effect.ts"
import { commonFile } from "../../src/torch/ObjectItem.ts"
import type { PyValue } from "../../src/torch/PyValue.ts"
import { tinyModel } from "../convert/tinyModel.ts"

const work = mkdtempSync(join(tmpdir(), "vocabulary-"))
const run = <A, E>(effect: Effect.Effect<A, E, Disk>) => Effect.runPromise(effect.pipe(Effect.provide(Disk.layer)))
let number = 0
const fresh = () => join(work, `${number++}`)
afterAll(() => rmSync(work, { recursive: true }))

const embeddingOf = async (directory: string) =>
  Buffer.from((await run(readSafetensors(join(directory, "model.safetensors")))).tensors.get("model.embed_tokens.weight")!.data)

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
    expect(report.vocabulary).toEqual({ from: 250, to: 256, divisibleBy: 2, tp: 4 })
    expect(report.notes).toContain(
      "vocabulary: 250 → 256 rows, padded as the trainer pads it to a multiple of make_vocab_size_divisible_by × tp = 2 × 4; the 6 added rows are zero")
    for (const line of ["vocab_size: 250", "make_vocab_size_divisible_by: 2", "should_pad_vocab: true"]) expect(config).toContain(`  ${line}\n`)
    const { tensors } = await run(openCheckpoint(megatron))
    for (const key of ["embedding.word_embeddings.weight", "output_layer.weight"]) {
      expect(tensors.get(key)!.shape).toEqual([256, 16])
      expect(tensors.get(key)!.place.stored.chunks.map((c) => c.sizes)).toEqual(Array.from({ length: 4 }, () => [64, 16]))
    }
    const exported = fresh()
    await run(bridge.exportCheckpoint(megatron, exported))
    expect(readFileSync(join(exported, "model.safetensors")).equals(readFileSync(join(hf, "model.safetensors")))).toBe(true)
  })

  it("pads with more rows than there are, and with zeros", async () => {
    const { bridge, hf, megatron, report } = await importWith(3, 8, true)
    expect(report.vocabulary).toEqual({ from: 3, to: 8, divisibleBy: 1, tp: 8 })
    const exported = fresh()
    await run(bridge.exportCheckpoint(megatron, exported, { vocabSize: 8 }))
    const [before, after] = [await embeddingOf(hf), await embeddingOf(exported)]
    expect(after.subarray(0, before.length)).toEqual(before)
    expect(after.subarray(before.length)).toEqual(Buffer.alloc(5 * 32))
  })

  it("changes nothing where tp divides the vocabulary", async () => {
    const { config, report } = await importWith(250, 2)
    expect(report.vocabulary).toBeUndefined()
    expect(report.notes).toEqual([])
    expect(config).not.toContain("should_pad_vocab")
  })
})

describe("an export", () => {
  /** 30 tokens, stored as 32 rows. */
  const padded = () => importWith(30, 4)
  type Made = Awaited<ReturnType<typeof padded>>
  const inCheckpoint = ({ megatron }: Made, ...path: ReadonlyArray<string>) => join(megatron, "iter_0000000", ...path)
  const exportOf = ({ bridge, megatron }: Made, vocabSize?: number) => {
    const target = fresh()
    return run(bridge.exportCheckpoint(megatron, target, vocabSize === undefined ? {} : { vocabSize })).then((report) => ({ report, target }))
  }
  const writeArgs = (made: Made, args: Readonly<Record<string, number>>) =>
    writeFileSync(inCheckpoint(made, "common.pt"), commonFile(new Map<PyValue, PyValue>([["args", new Map<PyValue, PyValue>(Object.entries(args))]])))
  const writeTokenizer = (folder: string, name: string, content: unknown) => {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, name), JSON.stringify(content))
  }

  it("says that it drops padding", async () => {
    const { report } = await exportOf(await padded())
    expect(report.vocabulary).toEqual({ from: 32, to: 30 })
    expect(report.notes).toContain("vocabulary: 32 → 30 rows; the others are padding, nothing here says that they are vocabulary")
  })

  it.each<readonly [string, (made: Made) => void]>([
    ["args.vocab_size", (made) => writeArgs(made, { vocab_size: 31 })],
    // 30 tokens pad to 30, so there were more.
    ["args.padded_vocab_size", (made) => writeArgs(made, { padded_vocab_size: 31, make_vocab_size_divisible_by: 1, tensor_model_parallel_size: 1 })],
    ["vocab_size of run_config.yaml", (made) =>
      writeFileSync(inCheckpoint(made, "run_config.yaml"), made.config.replace("vocab_size: 30", "vocab_size: 31"))],
    ["tokenizer.json", (made) => writeTokenizer(inCheckpoint(made, "tokenizer"), "tokenizer.json", { model: { vocab: { a: 0 } }, added_tokens: [{ id: 30, content: "<new>" }] })],
    ["added_tokens.json", (made) => writeTokenizer(made.hf, "added_tokens.json", { "<new>": 30 })],
    ["tokenizer_config.json", (made) => writeTokenizer(made.hf, "tokenizer_config.json", { added_tokens_decoder: { "30": { content: "<new>" } } })]
  ])("refuses to cut what %s calls vocabulary; --vocab-size exports it", async (says, change) => {
    const made = await padded()
    change(made)
    await expect(exportOf(made)).rejects.toMatchObject({
      code: "plan/vocabulary",
      message: expect.stringMatching(new RegExp(`${says.replaceAll(".", "\\.")}.*[\\s\\S]*--vocab-size 31 exports 31 rows`))
    })
    const { report, target } = await exportOf(made, 31)
    expect(report.vocabulary).toEqual({ from: 32, to: 31 })
    expect(JSON.parse(readFileSync(join(target, "config.json"), "utf8"))).toMatchObject({ vocab_size: 31 })
    expect((await embeddingOf(target)).length).toBe(31 * 32)
    expect((await exportOf(made, 30)).report.vocabulary).toEqual({ from: 32, to: 30 })
  })

  it("takes a padded size that follows from the tokens for padding", async () => {
    const made = await padded()
    writeArgs(made, { padded_vocab_size: 32, make_vocab_size_divisible_by: 8, tensor_model_parallel_size: 1 })
    expect((await exportOf(made)).report.vocabulary).toEqual({ from: 32, to: 30 })
  })

  it("says what it could not ask", async () => {
    const made = await padded()
    writeFileSync(inCheckpoint(made, "run_config.yaml"), "model: [")
    expect((await exportOf(made)).report.notes).toContainEqual(expect.stringContaining("run_config.yaml could not be asked for the size of the vocabulary"))
  })

  it("has no more rows than there are", async () => {
    await expect(padded().then((made) => exportOf(made, 40))).rejects.toMatchObject({ code: "plan/shape" })
  })

  it("writes the number wherever config.json has it for the language model", () => {
    const json = { vocab_size: 1, text_config: { vocab_size: 2 }, thinker_config: { text_config: { vocab_size: 3 } }, talker_config: { vocab_size: 4 } }
    const config = { directory: "", path: "config.json", architecture: "", json, bytes: Buffer.from(JSON.stringify(json)) }
    expect(withVocabulary(config, 9).json).toEqual({ vocab_size: 9, text_config: { vocab_size: 9 }, thinker_config: { text_config: { vocab_size: 9 } }, talker_config: { vocab_size: 4 } })
  })
})
