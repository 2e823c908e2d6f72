/** The examples run as they are, and say what they should; documents quote them. (tests/package runs them from the tarball.) */
import { readFileSync } from "node:fs"
import { afterEach, describe, expect, it, vi } from "vitest"
import { encodeHeader } from "../../src/safetensors/index.ts"

afterEach(() => {
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

/** Lines that a program prints. */
const printed = async (program: () => Promise<unknown>): Promise<ReadonlyArray<string>> => {
  const lines: Array<string> = []
  vi.spyOn(console, "log").mockImplementation((...words: ReadonlyArray<unknown>) => { lines.push(words.map((w) => (typeof w === "string" ? w : JSON.stringify(w))).join(" ")) })
  await program()
  return lines
}

describe("safetensors", () => {
  it("by ranges", async () => {
    const { dataStart, fileSize, headerBytes } = encodeHeader([
      { name: "lm_head.weight", dtype: "BF16", shape: [8, 4] },
      { name: "model.norm.weight", dtype: "BF16", shape: [4] }
    ])
    const file = new Uint8Array(fileSize)
    file.set(headerBytes)
    const asked: Array<string> = []
    vi.stubGlobal("fetch", async (url: string, { headers }: { headers: { Range: string } }) => {
      asked.push(url)
      const [first, last] = /(\d+)-(\d+)/.exec(headers.Range)!.slice(1).map(Number) as [number, number]
      return new Response(file.slice(first, last + 1), { status: 206, headers: { "Content-Range": `bytes ${first}-${Math.min(last, fileSize - 1)}/${fileSize}` } })
    })
    expect(await printed(() => import("../../examples/safetensors/by-ranges.ts"))).toEqual([`2 tensors in ${dataStart + 72} bytes`, "BF16 [4] 8 bytes"])
    expect(asked).toHaveLength(1)
  })

  it("files", async () => {
    expect(await printed(() => import("../../examples/safetensors/files.ts"))).toEqual(["bias F32 [3]", "2"])
  })

  it("effects", async () => {
    expect(await printed(() => import("../../examples/safetensors/effects.ts"))).toEqual(["file/missing"])
  })

  it("errors", async () => {
    expect(await printed(() => import("../../examples/safetensors/errors.ts"))).toEqual([
      "safetensors/data-truncated w 13",
      "its data should end at byte 4 after the header, but the file has only 2 there: it is cut short"
    ])
  })
})

describe("the pipelines", () => {
  it("with promises", async () => {
    const lines = await printed(() => import("../../examples/pipeline-promises.ts"))
    expect(lines[0]).toBe("trained on 3 ranks")
    expect(lines).toContain("importing: 100 %")
    expect(lines.at(-1)).toMatch(/^(\d+)\/\1 equal$/)
  })

  it("with Effects", async () => {
    const lines = await printed(() => import("../../examples/pipeline-effect.ts"))
    expect(lines).toContain("language: tensor-parallel groups [[0,1]]")
    expect(lines.at(-1)).toMatch(/^(\d+)\/\1 equal$/)
  })
})

it("the README of safetensors quotes them all", () => {
  const text = readFileSync(new URL("../../src/safetensors/README.md", import.meta.url), "utf8")
  expect([...text.matchAll(/<!-- examples\/safetensors\/(\S+) -->/g)].map((m) => m[1])).toEqual(["by-ranges.ts", "files.ts", "effects.ts", "errors.ts"])
})
