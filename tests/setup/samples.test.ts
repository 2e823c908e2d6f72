/** Samples, looked at before a GPU is. */
import { describe, expect, it } from "vitest"
import { checkSamples, type SampleCheckOptions } from "../../src/setup/samples.ts"

const options: SampleCheckOptions = { seqLength: 256, rule: { patch: 16, merge: 2 }, encoderDp: 1, languageDp: 2 }
const image = (width: number, height: number) => ({ type: "image", width, height })
const chat = (...content: ReadonlyArray<unknown>): string => JSON.stringify({ messages: [{ role: "user", content }, { role: "assistant", content: "yes" }] })
const check = (lines: ReadonlyArray<string>, change: Partial<SampleCheckOptions> = {}) => checkSamples(lines, { ...options, ...change })

describe("samples", () => {
  it("are counted: images and visual tokens", () => {
    expect(check([chat(image(64, 64), { type: "text", text: "what?" }), "", chat(image(128, 64), image(32, 32))])).toEqual({
      samples: 2, images: 3, mostVisualTokens: 9, leastImages: 1, mostImages: 2, findings: []
    })
  })

  it.each([
    ["another number of placeholders", [chat(image(64, 64), { type: "text", text: "<image><image>" })], {}, "error"],
    ["more visual tokens than the sequence", [chat(image(1024, 1024))], {}, "error"],
    ["may be longer than the sequence", [chat({ type: "text", text: "a".repeat(900) })], {}, "warning"],
    ["has a video", [chat({ type: "video" })], {}, "error"],
    ["without width and height", [chat({ type: "image" })], {}, "note"],
    ["no vision tower", [chat(image(64, 64))], { rule: undefined }, "error"],
    ["samples have 1 to 2 images", [chat(image(64, 64)), chat(image(64, 64), image(64, 64))], { encoderDp: 2 }, "error"],
    ["samples differ in visual tokens", [chat(image(64, 64)), chat(image(128, 64))], { encoderDp: 4 }, "error"],
    ["is no sample", ["{\"text\": 1}"], {}, "error"],
    ["is no sample", ["not json"], {}, "error"]
  ] as const)("%s", (text, lines, change, severity) => {
    expect(check(lines, change).findings).toEqual([expect.objectContaining({ severity, text: expect.stringContaining(text) })])
  })

  it("images beside the messages count", () => {
    expect(check([JSON.stringify({ conversations: [{ from: "human", value: "<image> what?" }], images: [{ width: 64, height: 64 }] })])).toMatchObject({ images: 1, mostVisualTokens: 4, findings: [] })
  })

  it("a finding names the first few lines", () => {
    expect(check(Array.from({ length: 9 }, () => chat({ type: "video" }))).findings[0]!.lines).toEqual([1, 2, 3, 4, 5])
  })
})
