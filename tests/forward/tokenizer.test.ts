/** Texts by a model's tokenizer.json. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { tokenizerJson } from "../../src/conformance/ByteTokenizer.ts"
import { cliIn } from "../cli/run.ts"
import { writeToy } from "./toys.ts"

const work = mkdtempSync(join(tmpdir(), "tokenizer-"))
const run = cliIn(work)
afterAll(() => rmSync(work, { recursive: true, force: true }))
beforeAll(async () => {
  await writeToy("llama-linear-tied", join(work, "hf"))
  writeFileSync(join(work, "hf", "tokenizer.json"), tokenizerJson())
})

const reportOf = async (...args: ReadonlyArray<string>) => JSON.parse((await run("forward", "hf", "--json", ...args)).out) as { tokens: ReadonlyArray<number>; next: ReadonlyArray<{ id: number; text: string }>; perplexity: number }

it("a text is its tokens, and next tokens are shown as text", async () => {
  const byText = await reportOf("--text", "Hi!")
  // Byte-level symbols in the order of GPT-2: printable ones first.
  expect(byText.tokens).toEqual(["H", "i", "!"].map((c) => c.charCodeAt(0) - 0x21))
  expect(await reportOf("--tokens", byText.tokens.join(","))).toEqual(byText)
  expect(byText.next.every(({ text }) => typeof text === "string")).toBe(true)
})

it("a tokenizer that is none is named: tokenizer/invalid", async () => {
  writeFileSync(join(work, "hf", "tokenizer.json"), '{"model":{"type":"No"}}')
  const { code, out } = await run("forward", "hf", "--text", "Hi", "--json")
  expect([code, (JSON.parse(out) as { error: { code: string } }).error.code]).toEqual([3, "tokenizer/invalid"])
  writeFileSync(join(work, "hf", "tokenizer.json"), tokenizerJson())
})
