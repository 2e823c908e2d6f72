/** What is remembered of file systems is a hint from a file that anybody may have changed. */
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import type { ObservedIo } from "../../src/engine/internal/IoWays.ts"
import { rememberedIo, rememberIo } from "../../src/engine/internal/rememberedIo.ts"

const work = mkdtempSync(join(tmpdir(), "remembered-"))
afterAll(() => rmSync(work, { recursive: true }))
let count = 0
const fresh = (): { readonly XDG_CACHE_HOME: string; readonly folder: string; readonly file: string } => {
  const home = join(work, String(count++))
  return { XDG_CACHE_HOME: home, folder: join(home, "megatron-mimo-bridge"), file: join(home, "megatron-mimo-bridge", "io.json") }
}
const seen = (key: string, side: ObservedIo["side"] = "source"): ObservedIo => ({
  side, known: false, fileSystem: { key, shown: key, inMemory: false }, used: { direct: true, inFlight: 4 }, ways: [{ direct: true, inFlight: 4, bytes: 100, rate: 2e9 }]
})
const ways = [{ direct: true, inFlight: 4, bytes: 100, rate: 2e9 }]

it("is there for the next run, by side and file system, with what others left", () => {
  const env = fresh()
  rememberIo({ observed: [seen("a"), seen("a", "target")] }, env)
  rememberIo({ observed: [seen("b"), { ...seen("a"), ways: [{ direct: false, inFlight: 1, bytes: 5, rate: 3e9 }] }] }, env)
  const known = rememberedIo(env)
  expect(known("source", "a")).toEqual([{ direct: false, inFlight: 1, bytes: 5, rate: 3e9 }])
  expect(known("target", "a")).toEqual(ways)
  expect(known("source", "b")).toEqual(ways)
  expect(known("target", "b")).toEqual([])
  expect(readdirSync(env.folder)).toEqual(["io.json"])
})

it("does not grow, and what nobody moved bytes for is not written", () => {
  const env = fresh()
  rememberIo({ observed: [{ ...seen("idle"), ways: [{ direct: true, inFlight: 4, bytes: 0, rate: 1e9 }] }] }, env)
  expect(() => readdirSync(env.folder)).toThrow("ENOENT")
  for (let i = 0; i < 70; i++) rememberIo({ observed: [seen(`fs ${i}`)] }, env)
  expect(JSON.parse(readFileSync(env.file, "utf8")).entries.length).toBe(64)
  expect(rememberedIo(env)("source", "fs 69")).toEqual(ways)
})

const entry = { side: "source", fileSystem: "a", measured: Date.now() - 1000, ways }
const text = (changed: object): string => JSON.stringify({ version: 1, entries: [{ ...entry, ...changed }] })

describe("says nothing", () => {
  it.each([
    ["of another version", JSON.stringify({ version: 2, entries: [entry] })],
    ["that is no JSON", "{"],
    ["that is empty", ""],
    ["that is too large", `${text({})}${" ".repeat(70_000)}`],
    ["that is old", text({ measured: Date.now() - 31 * 24 * 3600 * 1000 })],
    ["from the future", text({ measured: Date.now() + 1e9 })],
    ["with rates that cannot be", text({ ways: [{ ...ways[0], rate: -1 }] })],
    ["with more in flight than can be", text({ ways: [{ ...ways[0], inFlight: 1e6 }] })],
    ["with a twice-named field", text({}).replace("\"version\":1", "\"version\":1,\"version\":1")]
  ])("a file %s", (_, content) => {
    const env = fresh()
    mkdirSync(env.folder, { recursive: true })
    writeFileSync(env.file, content)
    expect(rememberedIo(env)("source", "a")).toEqual([])
    // And the next run writes a good one in its place.
    rememberIo({ observed: [seen("a")] }, env)
    expect(rememberedIo(env)("source", "a")).toEqual(ways)
  })

  it("a folder in the file's place, and nothing fails", () => {
    const env = fresh()
    mkdirSync(join(env.file, "x"), { recursive: true })
    rememberIo({ observed: [seen("a")] }, env)
    expect(rememberedIo(env)("source", "a")).toEqual([])
    expect(readdirSync(env.folder)).toEqual(["io.json"])
  })

  it("a cache that cannot be written, and nothing fails", () => {
    const env = fresh()
    mkdirSync(env.XDG_CACHE_HOME, { recursive: true })
    // Whoever may write everywhere cannot make a folder of a file either.
    writeFileSync(env.folder, "")
    chmodSync(env.XDG_CACHE_HOME, 0o500)
    rememberIo({ observed: [seen("a")] }, env)
    expect(rememberedIo(env)("source", "a")).toEqual([])
    chmodSync(env.XDG_CACHE_HOME, 0o700)
  })
})
