/** The entry for browsers: small, without Node and without Effect. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { rolldown } from "rolldown"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { encodeHeader } from "../../src/safetensors/index.ts"
import { type Browser, installed, launch } from "../report/chromium.ts"
import { withRangeServer } from "./rangeServer.ts"

const work = mkdtempSync(join(tmpdir(), "safetensors-entry-"))
afterAll(() => rmSync(work, { recursive: true, force: true }))
const entry = new URL("../../src/safetensors/index.ts", import.meta.url).pathname

/** What a page gets that has this script. Warnings, such as an import of a package or of Node, fail. */
const bundled = async (code: string): Promise<string> => {
  const input = join(work, `entry-${code.length}.ts`)
  writeFileSync(input, code)
  const complaints: Array<string> = []
  const build = await rolldown({ input, platform: "browser", onLog: (_, { message }) => { complaints.push(message) } })
  const { output: [{ code: text, imports }] } = await build.generate({ format: "esm", minify: true })
  await build.close()
  expect([complaints, imports]).toEqual([[], []])
  return text
}

it("parseHeader and all that it imports have at most 25 kB, minified", async () => {
  const code = await bundled(`export { parseHeader } from ${JSON.stringify(entry)}`)
  expect(Buffer.byteLength(code)).toBeLessThan(25_000)
  const { parseHeader } = await import(`data:text/javascript,${encodeURIComponent(code)}`) as { parseHeader: (bytes: Uint8Array) => { tensors: ReadonlyArray<unknown> } }
  expect(parseHeader(encodeHeader([{ name: "w", dtype: "BF16", shape: [0] }]).headerBytes).tensors).toHaveLength(1)
})

it("the whole entry needs no package and no Node, and has at most 40 kB", async () => {
  const code = await bundled(`export * from ${JSON.stringify(entry)}`)
  expect(code).not.toMatch(/\bBuffer\b|\bprocess\b|node:/)
  expect(Buffer.byteLength(code)).toBeLessThan(40_000)
})

describe.skipIf(!installed)("in Chromium, where there is one", () => {
  let browser: Browser
  beforeAll(async () => { browser = await launch() }, 240_000)
  afterAll(() => browser.close())

  it("a header is parsed by ranges: of a Blob, and of a file on a server of another origin", { timeout: 240_000 }, async () => {
    const header = encodeHeader(Array.from({ length: 2000 }, (_, i) => ({ name: `layers.${i}.wéight`, dtype: "F32" as const, shape: [2] })))
    const file = new Uint8Array(header.fileSize)
    file.set(header.headerBytes)
    new DataView(file.buffer).setFloat32(header.fileSize - 4, 42, true)
    const { tab } = browser
    // A page from a file may load no module.
    const code = await bundled(`import * as s from ${JSON.stringify(entry)}; Object.assign(globalThis, { safetensors: s })`)
    const page = join(work, "page.html")
    writeFileSync(page, `<!doctype html><meta charset="utf-8"><title>x</title><script>${code.replaceAll("</script", "<\\/script")}</script>`)
    await withRangeServer(new Map([["model.safetensors", file]]), async ({ asked, url }) => {
      await tab.open(page)
      const read = (source: string) => tab.run<[number, string, number]>(`(async () => {
        const source = ${source}
        const { tensors } = await safetensors.readHeader(source)
        const bytes = await safetensors.readTensorBytes(source, tensors.at(-1))
        return [tensors.length, tensors.at(-1).name, new Float32Array(bytes.buffer)[1]]
      })()`)
      const expected = [2000, "layers.1999.wéight", 42]
      expect(await read(`await safetensors.fromUrl(${JSON.stringify(url("model.safetensors"))})`)).toEqual(expected)
      expect(asked.filter((line) => line.startsWith("model"))).toHaveLength(3)
      const inPage = `(() => { const bytes = new Uint8Array(${file.byteLength}); bytes.set(Uint8Array.from(atob(${JSON.stringify(Buffer.from(header.headerBytes).toString("base64"))}), (c) => c.charCodeAt(0))); new DataView(bytes.buffer).setFloat32(bytes.length - 4, 42, true); return new Blob([bytes]) })()`
      expect(await read(`safetensors.fromBlob(${inPage})`)).toEqual(expected)
      expect(await tab.run(`safetensors.fromUrl(${JSON.stringify(url("missing"))}).catch((error) => error.code)`)).toBe("remote/status")
    })
  })
})
